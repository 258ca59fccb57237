"""A real logind holds the machine awake exactly while the daemon works."""

from __future__ import annotations

import json

import pytest

from tests.system.sandbox import Sandbox
from tests.system.unit import Unit

GRANTED = {"system": {"sleep:idle"}, "user": {"idle"}}
"""logind lets a person away from the seat block idleness alone; the system's unit comes with a rule for polkit."""


def locks(sandbox: Sandbox) -> set[str]:
    """What ingestd blocks, by what logind knows."""
    manager = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
    told = json.loads(sandbox.run("busctl", "--json=short", "call", *manager, "ListInhibitors"))
    return {what for what, who, *_ in told["data"][0] if who == "ingestd"}


def test_the_lock_is_there_while_it_works(unit: Unit) -> None:
    """Held during work, let go in a pause, held again, gone with the job; refused is what status names."""
    sandbox, granted = unit.sandbox, GRANTED[unit.kind]
    assert locks(sandbox) == set()
    # Rests between its workers make a long job of few photos; they count as work.
    unit.start("awake", 160, "--batch-size", "40", "--cooldown", "1")
    sandbox.wait_for(lambda: locks(sandbox))
    assert locks(sandbox) == granted
    power = unit.call("status")["daemon"]["power"]
    assert [one["what"] for one in power["refused"]] == ([] if unit.kind == "system" else ["sleep"])
    said = unit.ctl("status")
    assert all(one["why"] in said for one in power["refused"]), said
    unit.ctl("pause", "awake")
    sandbox.wait_for(lambda: not locks(sandbox))
    unit.ctl("resume", "awake")
    sandbox.wait_for(lambda: locks(sandbox) == granted)
    assert unit.finish("awake")["status"] == "completed"
    sandbox.wait_for(lambda: not locks(sandbox))


@pytest.mark.parametrize("unit", ["system"], indirect=True, scope="module")
def test_the_lock_ends_with_the_daemon(unit: Unit) -> None:
    """``kill -9`` of the daemon alone: whatever held the lock for it is gone too."""
    unit.override("Restart=no\nKillMode=process")  # the manager does not end what the daemon leaves behind
    unit.systemctl("restart", unit.name)
    unit.start("dead", 160, "--batch-size", "40", "--cooldown", "1")
    unit.sandbox.wait_for(lambda: locks(unit.sandbox))
    unit.kill("KILL")
    unit.sandbox.wait_for(lambda: not locks(unit.sandbox), 10)
    unit.override(None)
    unit.systemctl("start", unit.name)
    unit.check_whole("dead", 160, ends=1)


@pytest.fixture(autouse=True)
def _nobody_else(sandbox: Sandbox) -> None:
    """No lock of a test before."""
    sandbox.wait_for(lambda: not locks(sandbox))
