"""Beside a daemon: what it says of itself counts, and what it holds is not taken for somebody else's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ctl.ctlkit import Home
from tests.daemonkit import META, Daemon
from tests.doctor.clinic import Findings, examine, examine_hastily
from tests.inhibitkit import Inhibitor
from tests.pictures import write_photos


@pytest.fixture
def daemon(home: Home, tmp_path: Path) -> Iterator[Daemon]:
    """One that has ended a job, on a machine that can be kept awake."""
    inhibitor = Inhibitor(tmp_path / "bin")
    write_photos(tmp_path / "photos", 3)
    with Daemon(home.folder, {"PATH": inhibitor.path}) as daemon:
        daemon.ingest(tmp_path / "photos", sinks=["jsonl"], **META)
        yield daemon


def test_a_daemon_that_is_well(home: Home, daemon: Daemon) -> None:
    """All is green, the daemon goes on, and its stores with it."""
    found = examine(home, env={"PATH": daemon.env["PATH"]})
    assert found.levels("service") == {"ok"}, found.all
    assert f"(pid {daemon.pid}," in found.one("daemon")["finding"]
    assert "can be written" in found.one("sink")["finding"]
    assert found.code == 0
    assert daemon.job()["status"] == "completed"


def test_one_that_does_not_answer(home: Home, daemon: Daemon) -> None:
    """A stopped process: named with its pid, waited for a few seconds, and the rest is looked at without it."""
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        found: Findings = examine_hastily(home, {"ingestd.doctor.known.BLOCKED_S": 1.0})
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    named = found.one("daemon")
    assert (named["level"], f"(pid {daemon.pid}) did not answer" in named["finding"]) == ("fail", True), named
    assert found.one("source")["level"] == "ok"
    assert found.one("ledger")["level"] == "ok"
