"""Answers where no daemon runs: from its program, run once."""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec

from ingestd.protocol import control as c
from tests.ctl.ctlkit import ROOT, Home, daemon_status

ONESHOT = """
import json, sys
reply = {reply!r}
assert sys.argv[1] == "--oneshot"
print(reply if isinstance(reply, str) else json.dumps(reply[sys.argv[2]]))
sys.exit({code})
"""


def oneshot(home: Home, reply: Any, code: int = 0) -> dict[str, str]:
    package = home.folder / "stand-in" / "ingestd"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(ONESHOT.format(reply=reply, code=code))
    return {"PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT / "ctl")])}


def test_status_and_config_without_a_daemon(home: Home) -> None:
    """They ask the program itself, and say that no daemon runs; a job that is not there is an error."""
    from tests.ctl.ctlkit import finished

    status = json.loads(msgspec.json.encode(c.StatusReply(daemon_status(), [finished()])))
    env = oneshot(home, {"status": status, "config": {"rows": [{"key": "a", "value": "1", "source": "default"}]}})
    ran = home.run("status", env=env)
    assert ran.code == 0, ran
    assert "photos  completed" in ran.out
    assert ran.err.startswith("no daemon is running: ")
    assert json.loads(home.run("status", "photos", "--json", env=env).out) == status
    assert home.run("status", "other", env=env).code == 1
    assert home.run("config", env=env).out.startswith("a       1  default\n\nstate   /")


def test_an_error_without_a_daemon(home: Home) -> None:
    """The program's own sentence and exit code come through; so do words that are no JSON."""
    data = {"operation": "open", "object": "the ledger", "remedy": "update ingestd", "exit": 1}
    ran = home.run(
        "status", env=oneshot(home, {"status": {"error": {"code": -32000, "message": "newer", "data": data}}}, 1)
    )
    assert (ran.code, ran.err) == (1, "Error: cannot open the ledger: newer\nTry: update ingestd\n")
