"""The service under launchd: an agent of this user, begun at login."""

from __future__ import annotations

import os
import re
import subprocess
import time

from ingestctl import locations
from ingestctl.rpc import Away, CommandError, Connection
from ingestctl.service import files, run_as_user, templates, variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LABEL = "local.ingestd"
PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
"""launchd's own has the last four alone."""

UP_S = 60.0
GONE_S = 150.0
"""Seconds for the agent to end: the ``ExitTimeOut`` of its property list."""


def run_launchctl(*words: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``launchctl`` and capture its output; the exit code is 124 when it takes longer than ``seconds``."""
    command = ["launchctl", *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"launchctl did not answer within {seconds} s")


class Launchd:
    """The agent. ``launchctl`` runs that program; a test gives its own."""

    account: Any = None
    unit = LABEL
    name = f"the launchd agent {LABEL}"
    flags = ""

    def __init__(self, launchctl: Callable[..., subprocess.CompletedProcess[str]] = run_launchctl) -> None:
        self._launchctl = launchctl
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LABEL}"

    @property
    def unit_file(self) -> str:
        return os.path.expanduser(f"~/Library/LaunchAgents/{LABEL}.plist")

    def start_command(self) -> str:
        """The command that starts it."""
        return "ingestctl start"

    def files(self) -> dict[str, str]:
        """Path: text of its property list."""
        return {self.unit_file: templates.agent({"PATH": PATH, **variables.kept()}, locations.log())}

    def installed(self) -> bool:
        """Whether its file exists, written by this version or by another."""
        return os.path.exists(self.unit_file)

    def same_home(self) -> bool:
        """Whether it is about this environment's ``INGESTD_HOME``."""
        import plistlib
        from xml.parsers.expat import ExpatError

        try:
            with open(self.unit_file, "rb") as file:
                there = plistlib.load(file).get("EnvironmentVariables", {}).get("INGESTD_HOME")
        except (ValueError, ExpatError):
            return True  # no property list any more: to install again mends it
        return bool(there == variables.kept().get("INGESTD_HOME"))

    def check(self) -> None:
        """Raises ``CommandError`` where this user has no graphical login session, which agents belong to."""
        if self._launchctl("print", self._domain).returncode:
            raise self._cannot("nobody is logged in at the screen as this user", "log in there, then try it again")

    def check_manager(self) -> None:
        """The same as ``check``: launchd is the manager of every login session."""
        self.check()

    def check_alone(self) -> None:
        """There is no other kind of service here."""

    def prepare(self) -> None:
        """Check that the program runs as the agent will run it, and make the folder for what it prints."""
        run_as_user.trial(variables.kept())
        os.makedirs(locations.log(), mode=0o700, exist_ok=True)

    def write(self) -> list[str]:
        """Write the files that differ; returns their paths."""
        wanted = self.files()
        stale = files.changed(wanted)
        for path in stale:
            files.write(path, wanted[path])
        self._launchctl("enable", self._target)
        return stale

    def up(self, *, restart: bool = False, seconds: float = UP_S) -> dict[str, str]:
        """Start it. Returns when it answers; raises ``CommandError`` when it does not."""
        if restart:
            self.down()
        if not self._loaded():
            done = self._launchctl("bootstrap", self._domain, self.unit_file)
            if done.returncode and not self._loaded():
                raise self._cannot(
                    done.stderr.strip() or "launchctl refused", f"launchctl print {self._domain}", "load"
                )
        elif not _answers():
            self._launchctl("kickstart", self._target)
        deadline = time.monotonic() + seconds
        while not _answers():
            now = self.show()
            if time.monotonic() >= deadline or now["ActiveState"] == "failed":
                words = _last_words() or f"it does not answer (last exit code: {now['ExecMainStatus'] or 'none'})"
                raise self._cannot(words, "see more with: ingestctl service logs", "start")
            time.sleep(0.1)
        return self.show()

    def down(self) -> None:
        """Unload it; returns when it has ended."""
        self._launchctl("bootout", self._target)
        deadline = time.monotonic() + GONE_S
        while self._loaded() and time.monotonic() < deadline:
            time.sleep(0.1)

    def erase(self) -> list[str]:
        """Remove its property list; returns the paths that were removed."""
        return [self.unit_file] if files.remove(self.unit_file) else []

    def show(self, seconds: float | None = None) -> dict[str, str]:
        """What launchd knows of it, under systemd's names for the same things; nothing if it takes over ``seconds``."""
        done = self._launchctl("print", self._target, seconds=seconds)
        told = dict(re.findall(r"^\t([a-z ]+) = (.*)$", done.stdout, re.MULTILINE)) if done.returncode == 0 else {}
        status = told.get("last exit code", "").partition(":")[0]
        ended = status.lstrip("-").isdecimal()
        state = "active" if "pid" in told else "failed" if ended else "inactive"
        if told.get("state") == "spawn scheduled":  # it died, and launchd begins it again after ThrottleInterval
            state = "activating"
        return {
            "LoadState": "loaded" if told else "not-found", "UnitFileState": "enabled" if self.installed() else "",
            "ActiveState": state, "SubState": told.get("state", "not loaded"), "ActiveEnterTimestamp": "",
            "MainPID": told.get("pid", "0"), "StatusText": "", "Result": "", "ExecMainCode": "1" if ended else "",
            "ExecMainStatus": status if ended else "", "NRestarts": "", "FragmentPath": told.get("path", ""),
            "NeedDaemonReload": "no",
        }  # fmt: skip

    def linger(self) -> bool | None:
        """An agent runs from login to logout: nothing here lets it run longer."""
        return None

    def enable_linger(self) -> None:
        """Raises ``CommandError``: launchd knows no such thing."""
        raise self._cannot("launchd has no lingering: an agent runs while its user is logged in", "leave --linger out")

    def logs_command(self, lines: int, follow: bool, priority: str | None) -> list[str]:
        """The log's file: launchd keeps no journal."""
        if priority is not None:
            raise self._cannot("a log file has no priorities", "ingestctl logs | grep warning", "read the log of")
        return ["tail", f"-n{lines}", *(["-F"] if follow else []), locations.log_file()]

    def _loaded(self) -> bool:
        return self._launchctl("print", self._target).returncode == 0

    def _cannot(self, words: str, remedy: str, operation: str = "install") -> CommandError:
        return CommandError(words, operation=operation, object=self.name, remedy=remedy)


def _answers() -> bool:
    try:
        with Connection() as connection:
            connection.call("hello", {})
    except Away:
        return False
    return True


def _last_words() -> str:
    """The last lines of what the agent printed, for one that did not start."""
    text = files.read(f"{locations.log()}/ingestd.stderr") or ""
    return "\n".join(text.strip().splitlines()[-3:])
