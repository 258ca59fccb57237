"""``doctor`` on a machine that is well: real systemd, logind and polkit, the service installed, a job through it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.doctor.clinic import OF_THE_MACHINE
from tests.system.sandbox import Sandbox
from tests.system.unit import META, Unit

LIMIT_S = 10


def examined(unit: Unit) -> tuple[int, dict[str, Any]]:
    done = unit.sandbox.attempt("ingestctl", "doctor", "--json", user=unit.user, timeout=120)
    return done.returncode, json.loads(done.stdout)


def test_all_is_green_and_quick(unit: Unit) -> None:
    """Of the system's service every line; a user's own is refused the lock against sleep, and that is named with its
    remedy: that is what a lingering user is granted."""
    unit.sandbox.run("mkdir", "-p", f"{unit.home}/few", user=unit.user)
    unit.ctl("start", f"{unit.home}/few", *META, "--follow")
    code, document = examined(unit)
    levels = {one["what"]: one["level"] for one in document["findings"]}
    refused = {what for what, level in levels.items() if level != "ok" and what not in OF_THE_MACHINE}
    assert levels["service"] == "ok"
    assert refused == ({"awake"} if unit.kind == "user" else set()), document["findings"]
    assert code == 0
    assert document["seconds"] < LIMIT_S
    if refused:
        (named,) = [one for one in document["findings"] if one["what"] == "awake"]
        assert "inhibitor against sleep was refused" in named["finding"]
        assert "service install --system" in named["remedy"]


def test_a_service_that_is_not_installed_is_named(sandbox: Sandbox) -> None:
    """A user without one, on a machine that could have it."""
    sandbox.add_user("grace", 4551, linger=False)
    code, document = examined(Unit(sandbox, "user", "grace"))
    (named,) = [one for one in document["findings"] if one["what"] == "service"]
    assert (code, named["level"]) == (0, "warn")
    assert "not installed" in named["finding"]
    assert named["remedy"] == "ingestctl service install"


@pytest.mark.parametrize("limit", ["64"])
def test_a_low_limit_of_the_daemon_is_named(unit: Unit, limit: str) -> None:
    """The daemon's own limit counts, and not that of the shell that asks."""
    unit.override(f"LimitNOFILE={limit}")
    try:
        unit.systemctl("restart", unit.name)
        unit.sandbox.wait_for(unit.is_active)
        code, document = examined(unit)
        (named,) = [one for one in document["findings"] if one["what"] == "open files"]
        assert (code, named["level"]) == (1, "fail")
        assert f"{limit} may be open (the daemon's)" in named["finding"]
        assert "LimitNOFILE=" in named["remedy"]
    finally:
        unit.override(None)
