"""``python -m ingestctl``: the same as the console script."""

import sys

from ingestctl.main import main

if __name__ == "__main__":
    sys.exit(main())
