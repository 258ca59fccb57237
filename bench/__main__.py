"""``python -m bench [PART …]``: run the measurements and print what they gave."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import client, ledger, realistic, work
from bench.table import Row, lines


def main() -> int:
    """Print a row as it comes, then the table. Exit code 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure speed and memory.")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="ledger, client, catalogue, model (default: these); realistic"
    )
    parser.add_argument("--items", type=int, default=1_000_000, help="items in the generated ledger")
    parser.add_argument("--photos", type=int, default=200, help="photos for the part realistic")
    parser.add_argument("--device", default="auto", help="where the part realistic computes")
    options = parser.parse_args()
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "ledger": lambda folder: ledger.run(folder, options.items),
        "client": client.run,
        "catalogue": work.catalogue,
        "model": work.model,
    }
    usual = list(parts)
    parts["realistic"] = lambda folder: realistic.run(folder, options.photos, options.device)
    unknown = set(options.parts) - parts.keys()
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    os.environ["HF_HUB_OFFLINE"] = "1"
    print(f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}\n")
    rows: list[Row] = []
    for name in options.parts or usual:
        # A short folder: the socket's path has a limit.
        with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
            for row in parts[name](Path(folder)):
                print("  ".join(cell for cell in row.cells if cell), flush=True)
                rows.append(row)
    print("\n" + "\n".join(lines(rows)))
    return int(any(row.good is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
