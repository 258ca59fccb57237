"""A daemon to be fuzzed: its jobs need no model, and its folders are of the test's own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.daemon.house import defects
from tests.daemonkit import Daemon
from tests.pictures import write_photos

SEED = os.environ.get("INGESTD_SEED", str(random.randrange(1 << 30)))
"""Printed with each test; the same seed makes the same frames."""

LONG = int(os.environ.get("INGESTD_CHAOS", "0")) >= 50
"""``make chaos``: a million frames, a line of a gigabyte."""

ENV = {"INGESTD_DESCRIBE": "none", "INGESTD_EMBED": "none", "INGESTD_SINKS": "jsonl"}
BAD = 600
"""Files that fail: more than a page of ``failed``, which is then some 200 KB."""


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 5)
    (folder / "bad.jpg").write_bytes(b"this is no image")
    return folder


@pytest.fixture(scope="package")
def fuzzed(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Iterator[Daemon]:
    """A daemon with one job that failed a lot, shared: none of what comes over its socket may harm it."""
    failing = tmp_path_factory.mktemp("failing")
    for number in range(BAD):
        (failing / f"{number:04}-{'long' * 40}.jpg").write_bytes(b"no image %d" % number)
    with Daemon(tmp_path_factory.mktemp("home"), ENV) as daemon:
        assert daemon.ingest(failing, name="kept", batch_size=1000)["counts"]["failed"] == BAD
        yield daemon
    assert not defects(daemon)


class Bounds:
    """What the daemon holds before, and again afterwards."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._process = psutil.Process(daemon.pid)
        self.descriptors = self.now()
        self.memory = self.peak()

    def now(self) -> int:
        """Descriptors that are open."""
        return int(self._process.num_fds())

    def peak(self) -> int:
        """The most resident memory that the daemon ever had, in bytes."""
        lines = Path(f"/proc/{self._daemon.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

    def restored(self) -> None:
        """Wait until as few descriptors are open as before."""
        self._daemon.wait_for(lambda: self.now() <= self.descriptors, 60)


@pytest.fixture
def bounds(fuzzed: Daemon) -> Bounds:
    return Bounds(fuzzed)
