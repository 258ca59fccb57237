"""What the client adds to ``doctor``: the service, under played service managers; a real one is in ``tests/system``."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from ingestctl import rpc
from ingestctl.service import detect, files
from ingestctl.service.systemd import PROPERTIES, Systemd
from ingestctl.verbs import doctor

from tests.ctl.ctlkit import Home


class Played(Systemd):
    """A user's service of which this is known: ``now`` over what a well one shows."""

    def __init__(self, linger: bool | None = True, there: bool = True, **now: str) -> None:
        super().__init__()
        self._now = dict.fromkeys(PROPERTIES, "") | {"ActiveState": "active", "UnitFileState": "enabled"} | now
        self._linger, self._there = linger, there

    def installed(self) -> bool:
        return self._there

    def show(self, seconds: float | None = None) -> dict[str, str]:
        return self._now

    def linger(self) -> bool | None:
        return self._linger


@pytest.mark.parametrize(
    ("played", "changed", "level", "finding", "remedy"),
    [
        (Played(), False, "ok", "is installed, active", ""),
        (Played(linger=None), False, "ok", "is installed, active", ""),
        (Played(there=False), False, "warn", "not installed: after a reboot", "ingestctl service install"),
        (Played(), True, "warn", "another version or environment wrote it", "service install renews it"),
        (Played(UnitFileState="disabled"), False, "warn", "does not start by itself", "ingestctl service install"),
        (Played(linger=False), False, "warn", "it ends when you log out", "--linger"),
        (Played(linger=False, ActiveState="inactive"), False, "warn", "is installed and stopped", "ingestctl start"),
        (
            Played(ActiveState="failed", ExecMainCode="1", ExecMainStatus="78"),
            False,
            "fail",
            "a mistake in the configuration",
            "ingestctl service logs",
        ),
        (
            Played(ActiveState="failed", ExecMainCode="2", ExecMainStatus="9", StatusText="idle: 9 jobs"),
            False,
            "fail",
            "has failed: ended by signal 9; before that",
            "ingestctl start",
        ),
    ],
)
def test_the_service(
    played: Played, changed: bool, level: str, finding: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each state with its remedy; what breaks nothing is a warning."""
    monkeypatch.setattr(os.path, "isdir", lambda path, known=os.path.isdir: "systemd" in str(path) or known(path))
    monkeypatch.setattr(detect, "installed", lambda: played if played.installed() else None)
    monkeypatch.setattr(detect, "service", lambda **_: played)
    monkeypatch.setattr(files, "changed", lambda wanted: ["/a/unit"] if changed else [])
    found = doctor.service_finding()
    assert (found["level"], found["what"]) == (level, "service")
    assert finding in found["finding"]
    assert remedy in found["remedy"]


@pytest.mark.parametrize(
    ("look", "level", "says"),
    [
        (lambda: time.sleep(3), "fail", "did not answer within 0 s"),
        (lambda: 1 / 0, "warn", "ZeroDivisionError"),
        (lambda: _refuse(), "warn", "cannot ask launchd: nobody is there"),
    ],
)
def test_an_odd_service_manager_stops_nothing(
    look: Any, level: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs, breaks or refuses is a finding like others."""
    monkeypatch.setattr(doctor, "SERVICE_S", 0.2)
    monkeypatch.setattr(doctor, "service_finding", look)
    found = doctor._ServiceCheck().finding()
    assert (found["level"], says in found["finding"]) == (level, True), found


def _refuse() -> None:
    raise rpc.CommandError("nobody is there", operation="ask", object="launchd", remedy="log in")


def test_a_program_that_dies_is_told(home: Home) -> None:
    """No verdict, no green: what ended it is an error of the client."""
    broken = home.folder / "broken" / "ingestd"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    (broken / "__main__.py").write_text('import sys; print(\'{"finding": 1}\'); sys.exit("out of order")')
    ran = home.run("doctor", "--json", env={"PYTHONPATH": f"{broken.parent}:{home.env()['PYTHONPATH']}"})
    assert ran.code == 1
    assert ran.out == ""
    assert "out of order" in ran.err
