"""Installing and taking away: again and again with the same result, and without a trace at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.sandbox import Sandbox
from tests.system.unit import Unit

PLACES = (
    "/etc",
    "/usr/lib/systemd",
    "/usr/share/polkit-1",
    "/usr/local",
    "/var/lib/systemd/linger",
    "/run/systemd/system",
)
"""Where a service of the system may leave something; a user's may in that user's home."""

JOBS = (".local/state/ingestd", ".cache/huggingface")
"""What is meant to stay of a home: jobs with their results, and models."""


@pytest.fixture(params=["system", "user"])
def absent(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Unit]:
    """The service of ``tester`` before it is installed."""
    made = Unit(sandbox, request.param)
    yield made
    made.uninstall()
    sandbox.run("rm", "-rf", f"{made.home}/.local/state/ingestd")


def traces(unit: Unit) -> list[str]:
    """Every file of those places and of the home, with type, mode, owner and where a link leads."""
    left_out = [word for place in JOBS for word in ("-path", f"{unit.home}/{place}", "-prune", "-o")]
    listed = ("-printf", "%p %y %m %u %l\\n")
    there = [place for place in PLACES if unit.sandbox.path(place).exists()]
    # The folders above those that stay are made with them.
    above = {f"{unit.home}/.local", f"{unit.home}/.local/state", f"{unit.home}/.cache"}
    found = unit.sandbox.run("find", *there, unit.home, *left_out, *listed).splitlines()
    return sorted(line for line in found if line.split()[0] not in above)


def test_uninstalling_leaves_nothing(absent: Unit) -> None:
    """Files, links, rules, lingering and processes are as before; the jobs stay, and go on without the service."""
    unit = absent
    unit.sandbox.run("mkdir", "-p", f"{unit.home}/.config", user=unit.user)  # every desktop has made it
    before = traces(unit)
    printed = unit.install("--print")
    assert traces(unit) == before
    unit.install()
    assert unit.show("UnitFileState") == "enabled"
    new = [line.split() for line in traces(unit) if line not in before]
    files = [path for path, kind, *_ in new if kind == "f"]
    assert files
    assert all(path in printed for path in files)
    pid = unit.pid
    assert "wrote" not in unit.install()  # once more is no mistake: nothing is to change
    assert unit.pid == pid
    unit.start("kept", 20, folder=f"/srv/kept-{unit.kind}")
    unit.finish("kept")
    unit.uninstall()
    assert traces(unit) == before
    assert (unit.show("LoadState"), unit.show("ActiveState")) == ("not-found", "inactive")
    assert unit.sandbox.attempt("kill", "-0", str(pid)).returncode != 0
    assert "kept" in unit.ctl("status")
    unit.uninstall()  # nor is this


def test_a_daemon_that_was_started_by_hand_hands_over(absent: Unit) -> None:
    """Its jobs go on in the service; nobody has to end it first."""
    unit = absent
    unit.start("handed", 60, "--batch-size", "20", "--cooldown", "1")
    unit.install()
    unit.check_whole("handed", 60, ends=1)


def by_hand(unit: Unit) -> int:
    """The process of the daemon that answers after ``ingestctl start``, by the sandbox's count."""
    unit.ctl("start")
    return int(json.loads(unit.ctl("status", "--json"))["daemon"]["pid"])


def test_logging_out_and_in_again(sandbox: Sandbox) -> None:
    """Without lingering a user's service ends with the session, in the middle of a job, and goes on with the next."""
    sandbox.add_user("guest", 4323, linger=False)
    unit = Unit(sandbox, "user", "guest")
    refused = sandbox.attempt("ingestctl", "service", "install", user="guest")
    assert refused.returncode == 1
    assert "no login session" in refused.stderr
    began = by_hand(unit)  # as cron does at boot; a later session finds it, and the service takes over from it
    sessionless = sandbox.path("/tmp/ingestd-4323/ingestd/ingestd.sock")
    assert sessionless.is_socket()
    sandbox.run("systemctl", "start", "user@4323.service")  # as logind does for the first session
    assert by_hand(unit) == began
    said = unit.install()
    assert not sessionless.exists()
    assert "ends when you log out" in said
    unit.start("away", 120, "--batch-size", "40", "--cooldown", "1")
    unit.under_way("away")
    sandbox.run("systemctl", "stop", "user@4323.service")  # and after the last
    sandbox.run("systemctl", "start", "user@4323.service")
    sandbox.wait_for(lambda: sandbox.path(unit.door).is_socket())
    unit.check_whole("away", 120, ends=1)
    unit.uninstall()
    assert not sandbox.path("/var/lib/systemd/linger/guest").exists()
    began = by_hand(unit)  # this one is no service, and outlives the session
    assert sandbox.path(unit.door).is_socket()
    sandbox.run("systemctl", "stop", "user@4323.service")
    sandbox.wait_for(sessionless.is_socket)
    assert not sandbox.path("/run/user/4323").exists()
    assert by_hand(unit) == began
    unit.ctl("shutdown")
    assert not sessionless.exists()
