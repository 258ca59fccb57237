"""Beside a daemon: what it says of itself counts, and what it holds is not taken for somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.ctl.ctlkit import COMMAND, Home, until
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
        found: Findings = examine_hastily(home, {"ingestd.doctor.context.BLOCKED_S": 1.0})
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    named = found.one("daemon")
    assert (named["level"], f"(pid {daemon.pid}) did not answer" in named["finding"]) == ("fail", True), named
    assert found.one("source")["level"] == "ok"
    assert found.one("ledger")["level"] == "ok"


def test_a_daemon_that_nobody_can_reach(home: Home) -> None:
    """It holds the state folder, and its socket is gone: named with its pid. A pid of another program is not it."""
    state = home.folder / "state"
    state.mkdir(mode=0o700)
    holder = subprocess.Popen([sys.executable, "-c", "input()", "ingestd"], stdin=subprocess.PIPE)
    try:
        (state / "lock").write_text(f"{holder.pid}\n")
        named = examine(home).one("daemon")
        assert (named["level"], f"process {holder.pid} holds the state folder" in named["finding"]) == ("fail", True)
        (state / "lock").write_text("1\n")
        assert "none runs" in examine(home).one("daemon")["finding"]
    finally:
        holder.communicate(b"\n")


def test_ctrl_c_leaves_nothing(home: Home, tmp_path: Path) -> None:
    """Interrupted in the middle, as a terminal does it: 130, a word, and no process stays."""
    inhibitor = Inhibitor(tmp_path / "bin")
    inhibitor.hangs_at("sleep", "idle")
    client = subprocess.Popen(
        [*COMMAND, "doctor"], env=home.env(PATH=inhibitor.path), cwd=home.cwd, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    until(inhibitor.hanging)
    below = psutil.Process(client.pid).children(recursive=True)
    os.killpg(client.pid, signal.SIGINT)
    _, err = client.communicate(timeout=30)
    assert (client.returncode, err.decode()) == (130, "interrupted\n")
    until(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in below))
    until(lambda: inhibitor.hanging() is None)
