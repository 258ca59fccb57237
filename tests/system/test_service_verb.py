"""``ingestctl service`` and ``start`` with a real systemd: renewed in place, begun where it belongs, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.system.sandbox import Sandbox
from tests.system.unit import META, Unit


@pytest.fixture(scope="module", params=["user", "system"])
def unit(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Unit]:
    made = Unit(sandbox, request.param)
    made.install()
    yield made
    made.uninstall()


def facts(unit: Unit) -> dict[str, object]:
    """What ``service status --json`` tells, whatever its exit code."""
    done = unit.sandbox.attempt("ingestctl", "service", "status", "--json", user=unit.user)
    return dict(json.loads(done.stdout))


def test_an_older_unit_is_renewed_in_place(unit: Unit) -> None:
    """What an older release wrote is replaced, known to systemd, and the daemon restarted once."""
    path = unit.show("FragmentPath")
    file = unit.sandbox.path(path)
    new = file.read_text()
    file.write_text(new.replace("WatchdogSec=120", "WatchdogSec=77"))
    unit.systemctl("daemon-reload")
    before = unit.pid
    assert facts(unit)["current"] is False
    said = unit.install()
    assert f"wrote {path}" in said
    assert "restarted" in said
    assert file.read_text() == new
    assert unit.show("NeedDaemonReload") == "no"
    assert unit.show("WatchdogUSec") == "2min"
    assert unit.pid not in (0, before)
    assert (facts(unit)["current"], facts(unit)["active"]) == (True, "active")


def test_status_finds_the_service_that_there_is(unit: Unit) -> None:
    """Its user asks without saying which kind: file, state, pid, version and what it says of itself."""
    told = facts(unit)
    assert (told["scope"], told["service"], told["pid"]) == (unit.kind, unit.name, unit.pid)
    assert (told["installed"], told["enabled"], told["active"]) == (True, True, "active")
    assert told["version"] == told["client_version"]
    assert told["says"] == unit.show("StatusText")
    text = unit.ctl("service", "status")
    assert "active (running) since" in text
    assert str(unit.pid) in text


def test_start_begins_the_service(unit: Unit) -> None:
    """After ``shutdown`` the daemon has ended in order and stays away; ``start`` begins it where it belongs."""
    ended = unit.sandbox.attempt("ingestctl", "shutdown", user=unit.user)
    assert (ended.returncode, f"sudo systemctl start {unit.name}" in ended.stderr) == (0, unit.kind == "system"), ended
    unit.sandbox.wait_for(lambda: unit.show("ActiveState") == "inactive")
    assert (unit.show("Result"), unit.show("ExecMainStatus"), unit.restarts()) == ("success", "0", 0)
    assert facts(unit)["last_exit"] == "exit code 0: it ended in order"
    looked = unit.sandbox.attempt("ingestctl", "status", user=unit.user)
    started = unit.sandbox.attempt("ingestctl", "start", user=unit.user)
    if unit.kind == "user":
        assert started.returncode == 0, started
        assert "started the user service" in started.stderr
    else:  # only root may, and no second daemon is begun in the background instead
        assert started.returncode == 1
        assert f"sudo systemctl start {unit.name}" in started.stderr
        assert f"start it with: sudo systemctl start {unit.name}" in looked.stderr
        assert unit.show("ActiveState") == "inactive"
        unit.systemctl("start", unit.name)
    assert unit.is_active()
    assert json.loads(unit.ctl("status", "--json"))["daemon"]["pid"] > 0


def test_an_order_waits_for_a_daemon_that_is_started_again(unit: Unit) -> None:
    """Killed, and not yet back: ``status`` says that it is being started, and ``start FOLDER`` loses nothing."""
    photos = unit.photos("meanwhile", 3)
    unit.override("RestartSec=5")  # room for both commands before it is back
    try:
        before = unit.pid
        unit.kill("KILL")
        unit.sandbox.wait_for(lambda: unit.show("SubState") == "auto-restart")
        looked = unit.sandbox.attempt("ingestctl", "status", user=unit.user)
        unit.ctl("start", photos, "--name", "meanwhile", *META)
        assert f"{unit.name} is starting it again" in looked.stderr
        assert unit.has_replaced(before)
        assert unit.finish("meanwhile")["counts"]["done"] == 3
    finally:
        unit.override(None)


def test_a_second_daemon_does_not_fight_for_the_folder(unit: Unit) -> None:
    """One that somebody started by hand keeps it: the service says whose it is, once; installing again hands over."""
    unit.systemctl("stop", unit.name)
    by_hand = (
        f"setsid -f env XDG_RUNTIME_DIR=/run/user/{unit.sandbox.uid(unit.user)} ingestd >/dev/null 2>&1 </dev/null"
    )
    unit.sandbox.run("sh", "-c", by_hand, user=unit.user)
    unit.sandbox.wait_for(lambda: unit.sandbox.attempt("ingestctl", "wait", user=unit.user).returncode != 4)
    unit.systemctl("start", unit.name, check=False)
    unit.sandbox.wait_for(lambda: unit.show("ActiveState") == "failed")
    assert (unit.show("ExecMainStatus"), unit.restarts()) == ("69", 0)
    assert "another ingestd holds it (pid " in unit.show("StatusText")
    assert "another daemon holds" in str(facts(unit)["last_exit"])
    unit.install()
    assert unit.is_active()


def test_one_user_has_one_service(unit: Unit) -> None:
    """The other kind is refused while there is this one, naming how to take it away."""
    other = ("--system", "--for", unit.user) if unit.kind == "user" else ()
    who = None if unit.kind == "user" else unit.user
    refused = unit.sandbox.attempt("ingestctl", "service", "install", *other, user=who)
    assert refused.returncode == 1
    assert "one state folder has one daemon" in refused.stderr
    assert "service uninstall" in refused.stderr


def test_a_shell_without_a_session_finds_it(unit: Unit) -> None:
    """cron and su set no XDG_RUNTIME_DIR: the client finds the daemon all the same."""
    uid = str(unit.sandbox.uid(unit.user))
    bare = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "env", "-u", "XDG_RUNTIME_DIR"]
    told = unit.sandbox.run(*bare, f"HOME={unit.home}", "ingestctl", "status", "--json")
    assert json.loads(told)["daemon"]["pid"] > 0


def test_lingering_is_turned_on_when_asked(sandbox: Sandbox) -> None:
    """Without it the service ends at logout, and that is said with the way on; with ``--linger`` it stays."""
    sandbox.add_user("ada", 4331, linger=False)
    sandbox.run("systemctl", "start", "user@4331.service")  # as logind does for the first session
    unit = Unit(sandbox, "user", "ada")
    try:
        assert "ingestctl service install --linger" in unit.install()
        assert facts(unit)["linger"] is False
        assert "lingering is on" in unit.service("install", "--linger")
        assert facts(unit)["linger"] is True
    finally:
        unit.uninstall()
        sandbox.run("loginctl", "disable-linger", "ada")
