"""What the client makes of systemd's answers, under a played ``systemctl``; a real one is in ``tests/system``."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ingestctl import daemon_oneshot, locations, rpc
from ingestctl.service import detect, systemd
from ingestctl.service.systemd import PROPERTIES, Systemd, reason
from ingestctl.verbs import service as verb, shutdown, status

ADA = SimpleNamespace(pw_name="ada", pw_uid=4321, pw_dir="/home/ada")
OLD, NEW = "the life before", "the next life"

KILLED = {"ExecMainCode": "2", "ExecMainStatus": "9", "Result": "signal", "StatusText": "Big: 12,500 of 15,000"}
WAITS = {"ActiveState": "activating", "SubState": "auto-restart", "InvocationID": OLD, "Job": "7", **KILLED}
BEGINS = {"ActiveState": "activating", "SubState": "start", "InvocationID": NEW}
RUNS = {"ActiveState": "active", "SubState": "running", "InvocationID": NEW, "MainPID": "9"}
RAN = RUNS | {"InvocationID": OLD, "MainPID": "8"}
ENDS = {"ActiveState": "deactivating", "SubState": "final-sigkill", "InvocationID": OLD}
STOPPED = {"ActiveState": "inactive", "SubState": "dead", "InvocationID": OLD}
DIES = {"ActiveState": "activating", "SubState": "auto-restart", "InvocationID": NEW, **KILLED}
GIVES_UP = {"ActiveState": "failed", "SubState": "failed", "InvocationID": OLD, "Job": "0", **KILLED}


class Played(Systemd):
    """A service whose manager shows ``states`` one after another, the last one for ever; ``refuses``: not to be started
    by who asks."""

    def __init__(
        self, *states: dict[str, str], account: Any = None, refuses: bool = False, linger: bool = True
    ) -> None:
        super().__init__(account)
        self._states, self._refuses, self._linger = list(states), refuses, linger
        self.bound: float | None = None

    def show(self, seconds: float | None = None) -> dict[str, str]:
        self.bound = seconds
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return dict.fromkeys(PROPERTIES, "") | state

    def linger(self) -> bool | None:
        return self._linger

    def installed(self) -> bool:
        return True

    def _systemctl(
        self, *words: str, check: bool = True, seconds: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        no = self._refuses and words[0] in ("start", "restart", "show")
        return subprocess.CompletedProcess(words, int(no), "", "Access denied" if no else "")


# ---------------------------------------------------------------------------------------------------------------- start


@pytest.mark.parametrize(
    ("restart", "states"),
    [
        (False, (STOPPED, STOPPED, BEGINS, RUNS)),
        (False, (WAITS, WAITS, BEGINS, RUNS)),  # killed, and RestartSec is not over
        (False, (WAITS, WAITS | {"SubState": "auto-restart-queued"}, BEGINS, RUNS)),  # as systemd 254 calls the rest
        (False, (ENDS, WAITS, WAITS, BEGINS, RUNS)),  # killed, and its workers are being ended
        (False, (ENDS, GIVES_UP | {"Job": "7"}, BEGINS, RUNS)),  # the manager lets it be, this start does not
        (True, (RAN, RAN, ENDS, BEGINS, RUNS)),
        (True, (WAITS, WAITS, BEGINS, RUNS)),
    ],
)
def test_a_death_before_is_no_answer_to_this_start(restart: bool, states: tuple[dict[str, str], ...]) -> None:
    """Whatever the life before came to, it is waited for until the next one is ready."""
    assert Played(*states).up(restart=restart)["MainPID"] == "9"


@pytest.mark.parametrize(
    "states",
    [
        (STOPPED, BEGINS, DIES),
        (WAITS, WAITS, BEGINS, DIES),  # the second in a row is this start's own
        (WAITS, WAITS, GIVES_UP),  # too many starts: nothing is to come
    ],
)
def test_a_death_of_its_own_is_told(states: tuple[dict[str, str], ...]) -> None:
    """How it was ended comes first: what a killed one said before that is stale."""
    with pytest.raises(rpc.CommandError, match=r"^ended by signal 9; before that it said: Big: 12,500 of 15,000$"):
        Played(*states).up()


def test_who_may_not_start_it_waits_for_what_comes_by_itself() -> None:
    """A service of the system that its manager is starting again needs no root; one that is stopped does."""
    waiting = Played(WAITS, WAITS, BEGINS, RUNS, account=ADA, refuses=True)
    assert waiting.up()["MainPID"] == "9"
    for states in ((STOPPED,), (ENDS, ENDS, STOPPED)):
        with pytest.raises(rpc.CommandError, match="Access denied") as caught:
            Played(*states, account=ADA, refuses=True).up()
        assert caught.value.remedy == "sudo systemctl start ingestd@ada.service"
    with pytest.raises(rpc.CommandError, match="Access denied"):
        Played(RAN, account=ADA, refuses=True).up(restart=True)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"StatusText": "cannot read config.toml", "ExecMainCode": "1", "ExecMainStatus": "78"}, "cannot read config"),
        ({"ExecMainCode": "1", "ExecMainStatus": "70"}, "exit code 70: an error inside"),
        (KILLED, "ended by signal 9; before that it said: Big"),
        (KILLED | {"StatusText": ""}, "ended by signal 9"),
        (
            KILLED | {"Result": "watchdog", "ExecMainCode": "3"},
            "it gave no sign of life, and was ended by the watchdog;",
        ),
        ({}, ""),
    ],
)
def test_the_reason_of_an_end(now: dict[str, str], words: str) -> None:
    """A daemon that exits says why in its last words; of one that was killed they are about something else."""
    assert reason(dict.fromkeys(PROPERTIES, "") | now).startswith(words)
    assert bool(words) == bool(reason(dict.fromkeys(PROPERTIES, "") | now))


# -------------------------------------------------------------------------------------- without a daemon, and after one


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "start it with: ingestctl start"),
        (Played(STOPPED), "start it with: ingestctl start"),
        (Played(GIVES_UP), "start it with: ingestctl start"),
        (Played({}), "start it with: ingestctl start"),  # the manager says nothing
        (Played(WAITS), "the user service ingestd.service is starting it again: ask again in some seconds"),
        (Played(BEGINS | {"NRestarts": "1"}), "is starting it again"),
        (Played(BEGINS), "the user service ingestd.service is starting it: ask"),
        (Played(WAITS, account=ADA), "the system service ingestd@ada.service is starting it again"),
        (Played(STOPPED, account=ADA), "start it with: sudo systemctl start ingestd@ada.service"),
    ],
)
def test_status_without_a_daemon_says_what_brings_it_back(
    found: Played | None, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to type while its manager is at it; else the command that this user can give."""

    def nobody(*_: object, **__: object) -> None:
        raise rpc.Away("no daemon is running", absent=True)

    monkeypatch.setattr(rpc, "call", nobody)
    monkeypatch.setattr(daemon_oneshot, "reply", lambda _: {"jobs": []})
    monkeypatch.setattr(detect, "installed", lambda: found)
    assert status._reply(None) == {"jobs": []}
    assert said in capsys.readouterr().err
    assert found is None or found.bound == detect.ASK_S, "a manager that hangs must not hold up a look"


def test_what_cannot_be_found_out_stops_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that may not be read, a manager that hangs: the plain sentence."""

    def shut() -> None:
        raise rpc.CommandError("Permission denied", operation="read", object="a unit", remedy="")

    monkeypatch.setattr(detect, "installed", shut)
    assert detect.start_hint() == "start it with: ingestctl start"
    hung = systemd._run([sys.executable, "-c", "import time; time.sleep(60)"], 0.1)
    assert (hung.returncode, hung.stdout) == (124, "")


@pytest.mark.parametrize(
    ("found", "uid", "said"),
    [
        (None, 4321, ""),
        (Played(STOPPED), 4321, ""),
        (Played(STOPPED, account=ADA), 4321, "sudo systemctl start ingestd@ada.service\n"),
        (Played(STOPPED, account=SimpleNamespace(pw_name="root", pw_uid=0)), 0, ""),  # root just starts it
    ],
)
def test_shutdown_says_the_way_back_where_its_user_has_none(
    found: Played | None, uid: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service of the system is ended by its user and started by root alone."""
    monkeypatch.setattr(detect, "installed", lambda: found)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(locations, "is_anothers", lambda: False)
    shutdown._tell_how_to_start_again()
    told = capsys.readouterr().err
    assert told.endswith(said)
    assert bool(told) == bool(said)


# ----------------------------------------------------------------------------------------------------- service in words


def told(found: Played, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The lines of ``service status``."""
    monkeypatch.setattr(verb, "_version", lambda _: "")
    monkeypatch.setattr(Systemd, "files", lambda _: {"/not/there": ""})
    return dict(verb._told(found, verb._facts(found)))


def test_an_unknown_state_is_called_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a manager nobody knows whether it is enabled or runs: the reason is said, and no guess."""
    monkeypatch.setattr(os.path, "isdir", lambda _: False)
    lines = told(Played({}), monkeypatch)
    assert lines["state"].startswith("unknown: no systemd runs on this machine")
    assert set(lines) == {"service", "installed", "state"}
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    assert "has no login session here; log in as " in told(Played({}, refuses=True), monkeypatch)["state"]


def test_a_user_without_a_name_goes_by_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as a number that nobody has: status is told; a service of the system's needs a name."""

    def nameless(uid: int) -> object:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nameless)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    assert "log in as 54321 " in told(Played({}, refuses=True), monkeypatch)["state"]
    with pytest.raises(rpc.CommandError, match="has no name") as caught:
        detect.service(system=True, user=None)
    assert caught.value.remedy == "add --for USER"


def test_a_disabled_service_does_not_start_at_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lingering starts what is enabled, and nothing else."""
    lines = told(Played(RUNS | {"UnitFileState": "disabled"}), monkeypatch)
    assert lines["enabled"].startswith("no: it does not start by itself; ingestctl service install")
    assert "runs" not in lines
    assert "try" not in told(Played(WAITS), monkeypatch), "nobody has to do anything"
    assert "at boot" in told(Played(RUNS | {"UnitFileState": "enabled"}), monkeypatch)["runs"]


def test_hints_about_a_system_service_mean_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command says ``--system`` and whose, and ``sudo`` where only root may."""
    lines = told(Played(GIVES_UP | {"UnitFileState": "disabled"}, account=ADA), monkeypatch)
    install = "sudo ingestctl service install --system --for ada"
    assert install in lines["enabled"]
    assert install in lines["installed"]
    assert lines["try"] == ("sudo systemctl start ingestd@ada.service; ingestctl service logs --system --for ada")
    assert (lines["last exit"], lines["said last"]) == ("ended by signal 9", "Big: 12,500 of 15,000")
    with pytest.raises(rpc.CommandError) as caught:
        Played(STOPPED, BEGINS, DIES, account=ADA).up()
    assert caught.value.remedy == "see more with: ingestctl service logs --system --for ada"


def test_sudo_is_not_for_ones_own_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's manager is not the caller's: who typed sudo by habit is told to leave it out."""
    monkeypatch.setattr(os.path, "isdir", lambda _: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(systemd, "_account", lambda _: SimpleNamespace(pw_name="root"))
    monkeypatch.setattr(sys, "argv", ["ingestctl", "service", "install"])
    monkeypatch.setenv("SUDO_USER", "ada")
    with pytest.raises(rpc.CommandError) as caught:
        Played({}, refuses=True).check()
    assert caught.value.remedy.startswith("run it without sudo, as ada: ingestctl service install;")
    monkeypatch.delenv("SUDO_USER")
    with pytest.raises(rpc.CommandError, match="manager of root does not answer") as caught:
        Played({}, refuses=True).check()
    assert "enable-linger root" in caught.value.remedy
