"""The daemon as a service of a real systemd, the system's and a user's: ready, and hard to get rid of by accident."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.unit import Unit

PHOTOS = 200
PACE = ("--batch-size", "40", "--cooldown", "0.3")
"""Rests between its workers make a job of some seconds of few photos: the middle of it can be met on any machine."""

QUICK = "RestartSec=100ms"
"""For the tests' patience; the units' own pause lasts some seconds."""


@pytest.fixture(autouse=True)
def _quick(unit: Unit) -> Iterator[None]:
    """Started anew without its pause."""
    unit.override(QUICK)
    yield
    unit.override(None)


def test_it_is_ready_when_it_says_so(unit: Unit) -> None:
    """A start returns when the socket answers, and a job comes to its end through it."""
    assert unit.show("Type") == "notify"
    unit.systemctl("stop", unit.name)
    assert (unit.show("Result"), unit.show("ExecMainStatus")) == ("success", "0")
    unit.systemctl("start", unit.name)
    assert unit.ctl("status")  # at once: no client waits
    assert unit.show("StatusText")
    unit.start("first", 60)
    unit.check_whole("first", 60, ends=0)


def test_a_restart_and_a_kill_in_the_middle_of_a_job(unit: Unit) -> None:
    """``systemctl restart``, then ``kill -9``: the job goes on by itself, nothing is lost and nothing done twice."""
    unit.start("ended", PHOTOS, *PACE)
    done = unit.under_way("ended")
    first = unit.pid
    unit.systemctl("restart", unit.name)
    second = unit.pid
    assert second not in (0, first)
    assert unit.restarts() == 0
    unit.under_way("ended", beyond=done)
    unit.kill("KILL")
    unit.sandbox.wait_for(lambda: unit.has_replaced(second))
    assert unit.restarts() == 1
    unit.check_whole("ended", PHOTOS, ends=2)


def test_the_watchdog_restarts_a_daemon_that_stands(unit: Unit) -> None:
    """SIGSTOP: the watchdog ends it, it is started again, and the job goes on."""
    unit.override(f"{QUICK}\nWatchdogSec=3\nTimeoutAbortSec=5")
    unit.systemctl("restart", unit.name)
    try:
        unit.start("stopped", PHOTOS, *PACE)
        unit.under_way("stopped")
        before, restarts = unit.pid, unit.restarts()
        unit.kill("STOP")
        unit.sandbox.wait_for(lambda: unit.has_replaced(before))
        assert unit.restarts() == restarts + 1
        assert unit.entries("UNIT_RESULT=watchdog", f"{unit.field}={unit.name}")
        unit.check_whole("stopped", PHOTOS, ends=1)
    finally:
        unit.override(QUICK)
        unit.systemctl("restart", unit.name)


def test_a_misconfiguration_is_told_once(unit: Unit) -> None:
    """A mistake that a restart does not mend ends the service with its own exit code, and it stays ended."""
    config = f"{unit.home}/.config/ingestd/config.toml"
    unit.sandbox.run("mkdir", "-p", f"{unit.home}/.config/ingestd", user=unit.user)
    unit.sandbox.path(config).write_text("workers = 'many'\n")
    try:
        unit.systemctl("restart", unit.name, check=False)
        unit.sandbox.wait_for(lambda: unit.show("ActiveState") == "failed")
        assert (unit.show("ExecMainStatus"), unit.restarts()) == ("78", 0)
        assert "workers" in unit.journal()
    finally:
        unit.sandbox.path(config).unlink()
        unit.systemctl("restart", unit.name)
    assert unit.is_active()


def test_systemd_finds_nothing_to_say_about_the_unit(unit: Unit) -> None:
    """No unknown key, no missing command: ``systemd-analyze verify``, which exits 0 on both, says nothing of it."""
    scope = () if unit.kind == "system" else ("--user",)
    done = unit.sandbox.attempt("systemd-analyze", *scope, "verify", unit.show("FragmentPath"), user=unit.manager_user)
    # It verifies what the machine has besides, too, and that is not ours.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "ingestd" in line] == []
