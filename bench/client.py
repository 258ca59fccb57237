"""What ``ingestctl status`` costs, against an interpreter that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.table import Row, median
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

ROUNDS = 4
RUNS = 10
RATIO = 3.0
WALL_MS = 100.0


def run(folder: Path) -> Iterator[Row]:
    """One row: wall time of the command, and how many times that of ``python -c pass`` it is."""
    write_photos(folder / "photos", 20, seed=7)
    client = [str(Path(sys.executable).parent / "ingestctl"), "status"]
    nothing = [sys.executable, "-c", "pass"]
    with Daemon(folder / "home") as daemon:
        daemon.ingest(folder / "photos", **META)
        ours: list[float] = []
        theirs: list[float] = []
        for _ in range(ROUNDS):
            theirs += [wall_ms(nothing, daemon.env) for _ in range(RUNS)]
            ours += [wall_ms(client, daemon.env) for _ in range(RUNS)]
    ratio = median(ours) / median(theirs)
    yield Row(
        "ingestctl status ÷ python -c pass, wall",
        f"≤ {RATIO:.0f}, ≤ {WALL_MS:.0f} ms",
        f"{median(ours):.0f} ms ÷ {median(theirs):.0f} ms",
        ratio,
        ratio <= RATIO and median(ours) <= WALL_MS,
    )


def wall_ms(command: list[str], env: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, cwd=os.sep)
    return (time.perf_counter() - began) * 1000
