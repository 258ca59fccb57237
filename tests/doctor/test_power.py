"""What is said of sleep and of the lid, with a real inhibitor's program that grants, refuses or says nothing."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from ingestd import config, paths
from ingestd.doctor import power
from ingestd.doctor.context import Context, Daemon
from ingestd.host.lid import Lid
from ingestd.protocol import control as c
from ingestd.protocol.doctor import Finding
from ingestd.protocol.status import PowerStatus
from tests.ctl.ctlkit import daemon_status
from tests.inhibitkit import Inhibitor


@pytest.fixture
def inhibitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inhibitor:
    made = Inhibitor(tmp_path / "bin")
    monkeypatch.setenv("PATH", made.path)
    return made


def known(**settings: str) -> Context:
    environ = {f"INGESTD_{key.upper()}": value for key, value in settings.items()}
    return Context(paths.places(), config.load(environ, None, ""))


def working(*held: str) -> Context:
    """Beside a daemon that works and holds these."""
    status = daemon_status()
    status.power = PowerStatus(True, list(held), [], "systemd-inhibit", "", None)
    daemon = Daemon(c.HelloReply(1, "0", os.getpid()), c.StatusReply(status, []), c.ConfigReply([]))
    found = known()
    found.daemon = daemon
    return found


def look(check: Callable[[Context], Awaitable[list[Finding]]], at: Context) -> Finding:
    (finding,) = anyio.run(check, at)
    return finding


def test_granted_and_let_go(inhibitor: Inhibitor) -> None:
    """What is asked for a trial is not kept."""
    assert look(power.awake, known()).level == "ok"
    assert inhibitor.asked == ["sleep:idle"]
    assert inhibitor.held() == []


def test_refused_in_part(inhibitor: Inhibitor) -> None:
    """What a service of a user without a session gets: idleness alone, and the remedy."""
    inhibitor.refuses("sleep")
    found = look(power.awake, known())
    assert (found.level, "against sleep was refused" in found.finding, "idle is granted" in found.finding) == (
        "warn", True, True,
    )  # fmt: skip
    assert "service install --system" in found.remedy


def test_it_says_nothing(inhibitor: Inhibitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus that hangs is waited for some seconds."""
    monkeypatch.setattr(power, "ASK_S", 0.5)
    inhibitor.hangs_at("sleep", "idle")
    found = look(power.awake, known())
    assert (found.level, "did not answer" in found.finding) == ("warn", True), found


def test_a_daemon_that_works_is_believed(inhibitor: Inhibitor) -> None:
    """It holds the lock: nobody needs to be asked again."""
    found = look(power.awake, working("sleep", "idle"))
    assert (found.level, "held now" in found.finding, inhibitor.asked) == ("ok", True, [])


def test_switched_off_and_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A person's wish is no warning; a machine without the means is one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look(power.awake, known(awake="no")).level == "ok"
    found = look(power.awake, known())
    assert (found.level, "no way to be kept awake" in found.finding) == ("warn", True), found


@pytest.mark.parametrize(
    ("lid", "refuses", "level", "says"),
    [
        (Lid(False), False, "ok", "no lid"),
        (Lid(True, True, "suspend"), False, "ok", "changes nothing while this works"),
        (Lid(True, True, "suspend"), True, "warn", "suspends the machine (on AC power)"),
        (Lid(True, False, "suspend"), False, "warn", "suspends the machine (on battery)"),  # not asked for on battery
        (Lid(True, False, "poweroff"), False, "warn", "switches the machine off"),
        (Lid(True, False, "ignore"), False, "ok", "lets the machine go on"),
        (Lid(True, True, "suspend", "gsd-power"), True, "warn", "what gsd-power is set to do"),
    ],
)
def test_the_lid(
    lid: Lid, refuses: bool, level: str, says: str, inhibitor: Inhibitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What closing it does is told; that work stops then is a warning."""

    async def read(environ: object) -> Lid:
        return lid

    monkeypatch.setattr(power, "read_lid", read)
    if refuses:
        inhibitor.refuses("handle-lid-switch")
    found = look(power.lid, known())
    assert (found.level, says in found.finding) == (level, True), found
    assert inhibitor.held() == []
