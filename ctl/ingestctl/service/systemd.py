"""The service under systemd: a unit of this user's own manager, or an instance of the system's template."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from ingestctl import daemon_program, locations
from ingestctl.rpc import EXIT_ERROR, CommandError
from ingestctl.service import files, run_as_user, templates, variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNITS = "/etc/systemd/system"
RULES = "/etc/polkit-1/rules.d"
UP_S = 60.0
"""Seconds for a service to come up: longer than a daemon that it replaces may take to end in order, mostly."""

PROPERTIES = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "ActiveEnterTimestamp", "MainPID", "StatusText", "Result",
    "ExecMainCode", "ExecMainStatus", "NRestarts", "FragmentPath", "NeedDaemonReload",
    "InvocationID", "Job",
)  # fmt: skip

ENDINGS = {
    0: "it ended in order",
    64: "wrong arguments",
    69: "another daemon holds the state folder",
    70: "an error inside",
    75: "something was away: it is tried again",
    78: "a mistake in the configuration: it is not tried again before that is mended",
}
"""What the daemon's exit codes mean, see ``ingestd.errors``."""


class Systemd:
    """The user's service, or with ``account`` (a row of the password database) the system's for that user."""

    def __init__(self, account: Any = None) -> None:
        self.account = account
        self.unit = "ingestd.service" if account is None else f"ingestd@{account.pw_name}.service"
        self.name = f"the user service {self.unit}" if account is None else f"the system service {self.unit}"

    @property
    def flags(self) -> str:
        """The flags with which ``ingestctl service`` means this service, with a space before them."""
        return "" if self.account is None else f" --system --for {self.account.pw_name}"

    def start_command(self) -> str:
        """The command that starts it: only root may start a service of the system."""
        own = self.account is None or os.geteuid() == self.account.pw_uid == 0
        return "ingestctl start" if own else f"sudo systemctl start {self.unit}"

    # ------------------------------------------------------------------------------------------------- what is written

    def files(self) -> dict[str, str]:
        """Path: text of each of its files."""
        if self.account is None:
            return {self.unit_file: templates.user_unit(variables.kept())}
        kept = variables.kept(variables.SYSTEM)
        shared = {name: value for name, value in kept.items() if name == "PYTHONPATH"}
        own = {name: value for name, value in kept.items() if name not in shared}
        user = self.account.pw_name
        return {
            self.unit_file: templates.system_unit(shared),
            self._drop_in: templates.system_drop_in(own, self.writable()),
            self._rule: templates.polkit_rule(user),
        }

    def writable(self) -> list[str]:
        """Folders that the system service may write: its state, and where models are kept."""
        home = self.account.pw_dir
        own = variables.kept(variables.SYSTEM).get("INGESTD_HOME") or f"{home}/.local/state/ingestd"
        return [own, f"{home}/.cache/huggingface"]

    @property
    def unit_file(self) -> str:
        if self.account is not None:
            return f"{UNITS}/ingestd@.service"
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        return f"{os.path.abspath(config)}/systemd/user/{self.unit}"

    @property
    def _drop_in(self) -> str:
        return f"{UNITS}/{self.unit}.d/ingestd.conf"

    @property
    def _rule(self) -> str:
        return f"{RULES}/50-ingestd-{self.account.pw_name}.rules"

    def installed(self) -> bool:
        """Whether its files exist, written by this version or by another."""
        return os.path.exists(self.unit_file if self.account is None else self._drop_in)

    def same_home(self) -> bool:
        """Whether what is installed is about this environment's ``INGESTD_HOME``."""
        text = files.read(self.unit_file if self.account is None else self._drop_in)
        return text is not None and same_home(text)

    # ----------------------------------------------------------------------------------------------- what is performed

    def check(self) -> None:
        """Raises ``CommandError`` where no systemd runs, or where this user may not change the service."""
        self.check_manager()
        if self.account is not None and os.geteuid() != 0:
            again = " ".join(sys.argv[1:])
            raise self._cannot("only root may", f"sudo {sys.executable} -m ingestctl {again}", "change")

    def check_manager(self) -> None:
        """Raises ``CommandError`` where no systemd runs, or where this user's own manager does not answer."""
        if not os.path.isdir("/run/systemd/system"):
            raise self._cannot(
                "no systemd runs on this machine (a container, perhaps)",
                f"start the daemon with: ingestctl start; in a container, let it run: {sys.executable} -m ingestd",
            )
        if self.account is None and self._systemctl("show", "--property=Version", check=False).returncode:
            user, caller = _account(os.getuid()).pw_name, os.environ.get("SUDO_USER")
            remedy = f"log in as {user} (su and sudo are no login), or once: sudo loginctl enable-linger {user}"
            if os.geteuid() == 0 and caller and caller != user:  # meant is the caller's own
                again = " ".join(sys.argv[1:])
                remedy = f"run it without sudo, as {caller}: ingestctl {again}; a service of the system: add --system"
            raise self._cannot(
                f"the service manager of {user} does not answer: this user has no login session here", remedy
            )

    def check_alone(self) -> None:
        """Raises ``CommandError`` where the same user has the other kind of service.

        One state folder has one daemon.
        """
        if self.account is not None:
            path = f"{self.account.pw_dir}/.config/systemd/user/ingestd.service"
            other, way = f"the user service of {self.account.pw_name}", "as that user: ingestctl service uninstall"
        else:
            system = Systemd(_account(os.getuid()))
            path, other = system._drop_in, system.name
            way = f"sudo ingestctl service uninstall --system --for {system.account.pw_name}"
        if os.path.exists(path):
            raise self._cannot(
                f"{other} is installed, and one state folder has one daemon", f"take that away first, {way}"
            )

    def write(self) -> list[str]:
        """Write the files that differ; returns their paths."""
        wanted = self.files()
        if self.account is not None and not os.path.isdir(os.path.dirname(RULES)):
            wanted.pop(self._rule)  # no polkit, nobody who would read it
        stale = files.changed(wanted)
        for path in stale:
            files.write(path, wanted[path])
        if stale or self.show()["NeedDaemonReload"] == "yes":
            self._systemctl("daemon-reload")
        found = self.show()["FragmentPath"]
        if os.path.realpath(found or "/") != os.path.realpath(self.unit_file):
            raise self._cannot(
                f"systemd reads {found or 'no file'} instead of {self.unit_file}",
                "remove that file, or unset XDG_CONFIG_HOME where it is not set for the service manager too",
            )
        self._systemctl("enable", "--quiet", self.unit)
        return stale

    def prepare(self) -> None:
        """Check that the program runs as the service will run it, and make its folders."""
        if set(sys.executable) & set("\"'\\"):
            raise self._cannot(
                f"systemd runs no program whose path has quotes or backslashes: {sys.executable}",
                "install ingestd into an environment with a plainer path",
            )
        kept = variables.kept() if self.account is None else variables.kept(variables.SYSTEM)
        run_as_user.trial(kept, self.account)
        if self.account is not None:
            run_as_user.make_folders(self.writable(), self.account)

    def up(self, *, restart: bool = False, seconds: float = UP_S) -> dict[str, str]:
        """Start it. Returns when it is ready; raises ``CommandError`` with its own message when it ends.

        A service that died and that its manager starts again by itself (``RestartSec``) is waited for.
        """
        # A life that was there before stays in sight until the manager begins the next one, be it a running process
        # that is to be restarted or a death that is no answer to this start: it is told by its invocation.
        before = self.show()
        old = "" if before["ActiveState"] in ("inactive", "failed") else before["InvocationID"]
        self._systemctl("reset-failed", self.unit, check=False)  # it may have died too often, once
        done = self._systemctl("restart" if restart else "start", "--no-block", self.unit, check=False)
        deadline = time.monotonic() + seconds
        while True:
            now = self.show()
            state, renewed = now["ActiveState"], not old or now["InvocationID"] != old
            # Who may not start it may still wait for one that comes back by itself.
            if done.returncode and (restart or state not in ("active", "activating", "deactivating")):
                raise self._refused(done)
            if state == "active" and now["SubState"] == "running" and (renewed or not restart):
                return now
            dead = state == "failed" and (renewed or now["Job"] in ("", "0"))  # with a job, its start is still to come
            if dead or (renewed and now["SubState"].startswith("auto-restart")):
                raise self._failed(now)
            if time.monotonic() >= deadline:
                words = now["StatusText"] or f"it is {now['SubState']}"
                raise self._cannot(words, f"see what it does with: ingestctl service logs{self.flags}", "start")
            time.sleep(0.1)

    def down(self) -> None:
        """Stop it and disable it; returns when it has ended."""
        self._systemctl("disable", "--now", "--quiet", self.unit, check=False)
        self._systemctl("stop", self.unit, check=False)

    def erase(self) -> list[str]:
        """Remove its files; returns their paths. The system's template is removed with its last user."""
        paths = [self.unit_file] if self.account is None else [self._rule, self._drop_in]
        removed = [path for path in paths if files.remove(path)]
        for folder in self._folders():
            files.remove_empty(folder)
        if self.account is not None and not _instances() and files.remove(self.unit_file):
            removed.append(self.unit_file)
        self._systemctl("daemon-reload")
        self._systemctl("reset-failed", self.unit, check=False)
        return removed

    def _folders(self) -> list[str]:
        """Folders that were made for it, the innermost first: they are removed as well when they are empty."""
        if self.account is not None:
            return [locations.SERVICES]
        units = os.path.dirname(self.unit_file)
        return [os.path.dirname(locations.socket()), f"{units}/default.target.wants", units, os.path.dirname(units)]

    def show(self, seconds: float | None = None) -> dict[str, str]:
        """Its properties as the manager reports them; empty texts where it knows none, or takes over ``seconds``."""
        command = ["show", f"--property={','.join(PROPERTIES)}", self.unit]
        done = self._systemctl(*command, check=False, seconds=seconds)
        told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return {name: told.get(name, "") for name in PROPERTIES}

    def linger(self) -> bool | None:
        """Whether this user's services run without a login; None where no logind answers."""
        user = _account(os.getuid()).pw_name
        done = _run(["loginctl", "show-user", user, "--property=Linger", "--value"])
        if done.returncode == 0:
            return done.stdout.strip() == "yes"
        # logind knows only users that are logged in or linger: of another one it says nothing, where there is a logind.
        return False if _run(["loginctl", "list-users"]).returncode == 0 else None

    def enable_linger(self) -> None:
        """Let this user's services run without a login. Raises ``CommandError`` when that is refused."""
        user = _account(os.getuid()).pw_name  # without the name, loginctl wants a session to take it from
        done = _run(["loginctl", "--no-ask-password", "enable-linger", user])
        if done.returncode:
            raise CommandError(
                done.stderr.strip() or "loginctl refused",
                operation="turn on",
                object="lingering",
                remedy=f"sudo loginctl enable-linger {user}",
            )

    def logs_command(self, lines: int, follow: bool, priority: str | None) -> list[str]:
        """The journal's own reader. ``--user-unit`` finds entries wherever the journal keeps this user's."""
        of = "--user-unit" if self.account is None else "--unit"
        # Quiet is only the hint that other people's entries are not shown.
        command = ["journalctl", "--quiet", f"{of}={self.unit}", f"--lines={lines}"]
        return command + ["--follow"] * follow + [f"--priority={priority}"] * (priority is not None)

    def _failed(self, now: dict[str, str]) -> CommandError:
        words = reason(now) or "it ended at once"
        failure = self._cannot(words, f"see more with: ingestctl service logs{self.flags}", "start")
        if now["ExecMainCode"] == "1":
            failure.exit = daemon_program.exit_code(int(now["ExecMainStatus"]), words.removeprefix("cannot read "))
        return failure

    def _refused(self, done: subprocess.CompletedProcess[str]) -> CommandError:
        words = (done.stderr.strip().splitlines() or ["systemctl refused"])[0]
        by_hand = f"log in as that user, then: systemctl --user start {self.unit}"
        return self._cannot(words, by_hand if self.account is None else f"sudo systemctl start {self.unit}", "start")

    def _cannot(self, words: str, remedy: str, operation: str = "install") -> CommandError:
        return CommandError(words, operation=operation, object=self.name, remedy=remedy, exit=EXIT_ERROR)

    def _systemctl(
        self, *words: str, check: bool = True, seconds: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        scope = ["--user"] if self.account is None else ["--system"]
        done = _run(["systemctl", *scope, "--no-ask-password", *words], seconds)
        if check and done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise self._cannot(reason, "see: journalctl -b -n 50", f"{words[0]} (systemctl)")
        return done


def mine() -> Systemd | None:
    """The service that is installed for this user and this ``INGESTD_HOME``, or None."""
    user = Systemd()
    if user.installed():
        return user if user.same_home() else None
    if not os.path.exists(f"{UNITS}/ingestd@.service"):
        return None
    system = Systemd(_account(os.getuid()))
    return system if system.installed() and system.same_home() else None


def same_home(text: str) -> bool:
    """Whether a unit's text is about this environment's ``INGESTD_HOME``."""
    home = os.environ.get("INGESTD_HOME")
    if not home:
        return "INGESTD_HOME=" not in text
    return templates.assignment("INGESTD_HOME", os.path.abspath(os.path.expanduser(home))) in text.splitlines()


def ending(now: dict[str, str]) -> str:
    """How its process ended last, as a sentence; empty when it did not."""
    code, status = now["ExecMainCode"], now["ExecMainStatus"]
    if now["Result"] == "watchdog":
        return "it gave no sign of life, and was ended by the watchdog"
    if code in ("0", "") or not status.isdecimal():
        return ""
    if code == "1":
        known = ENDINGS.get(int(status))
        return f"exit code {status}" + (f": {known}" if known else "")
    return f"ended by signal {status}"


def reason(now: dict[str, str]) -> str:
    """Why it does not run, as a sentence; empty where the manager knows no reason.

    What it reported last is the reason only if it exited by itself: a killed process had no time to report anything.
    """
    how, said = ending(now), now["StatusText"]
    if how and (now["ExecMainCode"] not in ("0", "1", "") or now["Result"] == "watchdog"):
        return how + (f"; before that it said: {said}" if said else "")
    return said or how


def _instances() -> list[str]:
    """Users that have the system service."""
    try:
        names = os.listdir(UNITS)
    except OSError:
        return []
    return [name for name in names if name.startswith("ingestd@") and os.path.exists(f"{UNITS}/{name}/ingestd.conf")]


def _account(uid: int) -> Any:
    """The account of ``uid``; one without a name, as in a container, goes by its number, as systemd takes it."""
    import pwd

    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return pwd.struct_passwd((str(uid), "x", uid, os.getgid(), "", os.path.expanduser("~"), ""))


def _run(command: list[str], seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ)
    runtime = f"/run/user/{os.getuid()}"
    # A shell that su or cron began does not know where its user's manager is, though it may be there.
    if not env.get("XDG_RUNTIME_DIR") and os.path.isdir(runtime):
        env["XDG_RUNTIME_DIR"] = runtime
    env["LC_ALL"] = "C.UTF-8"
    try:
        return subprocess.run(
            command, env=env, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False,
            timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"{command[0]} did not answer within {seconds} s")
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} is not installed")
