"""``python -m ingestd.catalogue STATE [--lockdown auto]``: write the catalogue of kinds into a state folder, and end.

It runs the import of other packages. So it is a process of its own, which reaches nobody and writes there alone;
whoever starts it bounds its time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ingestd import lockdown
from ingestd.kinds.catalogue import FILE, encode


def main(state: Path, lock: bool) -> None:
    """Raises ``OSError`` when the file cannot be written."""
    if lock:
        lockdown.apply(lockdown.Access(write=(os.fsencode(state),)))
    from ingestd.catalogue.loading import make_catalogue

    write(state / FILE, encode(make_catalogue()))


def write(path: Path, data: bytes) -> None:
    """Replace a file, whole or not at all; one that says so already is left alone. Raises ``OSError``."""
    if path.is_file() and path.read_bytes() == data:
        return
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    os.replace(beside, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "auto" in sys.argv[2:])
