"""What ``status`` says of power: a line while something works and a person may need it, else none."""

from __future__ import annotations

from typing import Any

import pytest
from ingestctl.render import daemon_lines, power_lines
from ingestctl.terminal_text import Paint

from ingestd.protocol.status import PowerRefusal, PowerStatus

DENIED = {"why": "Access denied", "remedy": "sudo ingestctl service install --system allows it"}
SAID = "Access denied. sudo ingestctl service install --system allows it"
LID = "closing the lid suspends the machine (on battery); work goes on when it wakes"


def power(held: str = "", refused: str = "", lid: str = "this machine has no lid", **changes: Any) -> dict[str, Any]:
    found = {"wanted": True, "held": held.split(), "method": "systemd-inhibit", "lid": lid, "on_ac": None}
    return found | {"refused": [{"what": what, **DENIED} for what in refused.split()]} | changes


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        (power("sleep idle"), ["kept awake while it works: sleep, idle held off"]),
        (power("sleep idle", lid=LID), ["kept awake while it works: sleep, idle held off", LID]),
        (power("sleep idle handle-lid-switch", lid="x"), ["kept awake while it works: sleep, idle held off", "x"]),
        (power("sleep idle", "handle-lid-switch", LID), ["kept awake while it works: sleep, idle held off", LID]),
        (power("idle", "sleep"), [f"sleep not held off (idle is): {SAID}"]),
        (power("", "sleep idle"), [f"sleep, idle not held off: {SAID}"]),
        (power(), []),  # not answered yet
        (power("", "sleep idle", wanted=False), []),  # nothing works: nobody needs to know
        (power("", method="off"), []),  # as its person wished
    ],
)
def test_a_line_of_sleep_and_one_of_the_lid(told: dict[str, Any], lines: list[str]) -> None:
    """A refusal names its remedy; the lid's own refusal is in what is said of the lid."""
    assert [text for _, text in power_lines(told)] == lines
    assert told.keys() == set(PowerStatus.__struct_fields__)
    assert all(one.keys() == set(PowerRefusal.__struct_fields__) for one in told["refused"])


def test_an_older_daemon_says_nothing_of_it() -> None:
    """Fields are only ever added, so a client meets daemons without this one."""
    daemon = {"version": "0", "pid": 0, "started": 0.0, "memory_bytes": 0, "ledger_bytes": 0, "log": "/log"}
    plain = Paint(False)
    assert daemon_lines(daemon, plain, 0.0) == daemon_lines(daemon | {"power": None}, plain, 0.0)
    (added, *_) = daemon_lines(daemon | {"power": power("sleep idle")}, plain, 0.0)
    assert added == "kept awake while it works: sleep, idle held off"
