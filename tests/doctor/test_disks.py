"""Disks that are full, that may not be written, and that never answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ctl.ctlkit import Home
from tests.daemon.house import NOT_ROOT, needs_permissions
from tests.doctor.clinic import Books, examine, examine_hastily
from tests.mountkit import MortalMount
from tests.sinks.conftest import SmallDisk


@pytest.fixture
def full(home: Home) -> Iterator[SmallDisk]:
    """A state folder on a disk of its own, of which a job's ledger has left nothing."""
    (home.folder / "state").mkdir(mode=0o700)
    disk = SmallDisk(home.folder / "state", "1m")
    yield disk
    disk.close()


def test_no_disk(home: Home, full: SmallDisk) -> None:
    """A full disk, and one that has less than is kept free, are named; everything else is looked at all the same."""
    inside = ["nsenter", f"--mount=/proc/{full.pid}/ns/mnt"]
    found = examine(home, prefix=inside)
    assert found.code == 1
    assert "no disk: 1.0 MB free" in found.one("state folder")["finding"]
    assert "Free some space" in found.one("state folder")["remedy"]
    full.fill()
    found = examine(home, prefix=inside)
    named = found.one("state folder")
    assert (found.code, named["level"]) == (1, "fail")
    assert f"{home.folder}/state cannot be written: no space left on device" in named["finding"]
    assert "Free some space" in named["remedy"]
    assert found.one("model")["level"] == "ok"
    assert [path.name for path in full.folder.iterdir()] == ["ballast"], "its own trial is taken away"


@needs_permissions
def test_a_state_folder_that_may_not_be_written(home: Home) -> None:
    """Its remedy is the right to write; the log's folder, which may, is well."""
    state = home.folder / "state"
    state.mkdir()
    state.chmod(0o500)
    found = examine(home, prefix=NOT_ROOT)
    assert f"{state} cannot be written: permission denied" in found.one("state folder")["finding"]
    assert "right to write" in found.one("state folder")["remedy"]
    assert (found.one("log")["level"], found.code) == ("ok", 1)


def test_a_dead_mount_stops_nothing(home: Home, tmp_path: Path) -> None:
    """A root whose disk is gone in the middle of a question: it is named, the roots beside it answer, and the doctor
    ends although its child never does."""
    share, well = tmp_path / "share", tmp_path / "well"
    share.mkdir()
    well.mkdir()
    books = Books(home)
    books.add("nas", share)
    books.add("here", well)
    books.close()
    dead = MortalMount(share)
    try:
        constants = {"ingestd.doctor.sources.TOGETHER_S": 1.5, "ingestd.doctor.sources.ALONE_S": 3.0}
        found = examine_hastily(home, constants, dead.prefix)
        named = found.one("source", str(share))
        assert (named["level"], "no answer within" in named["finding"]) == ("fail", True)
        assert "does not answer" in named["remedy"]
        assert found.one("source", str(well))["level"] == "ok"
        assert found.of("lockdown")
    finally:
        dead.close()
