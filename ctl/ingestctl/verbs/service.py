"""``service``: the daemon as a service of the system, that starts by itself and is started again when it dies."""

from __future__ import annotations

import argparse
import json
import os
import sys

from ingestctl import __version__, argument_values, locations, rpc
from ingestctl.terminal_text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ingestctl.service.detect import Service

_EXAMPLES = """\
examples:
  ingestctl service install                        it starts when you log in
  ingestctl service install --linger               and at boot, and goes on when you log out
  sudo ingestctl service install --system --for me   a locked-down service of the system, from boot on
  ingestctl service install --print                what would be written, and where
  ingestctl service logs -f -p warning
  ingestctl service uninstall                      your jobs and their results stay

exit codes of status: 0 installed and running, 1 not
"""

_ONLY = {"linger": ("install",), "print": ("install",), "json": ("status",), "follow": ("logs",), "lines": ("logs",)}
_ONLY["priority"] = ("logs",)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "action", choices=("install", "uninstall", "status", "logs"), help="what to do with it; installing again renews"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--user", action="store_true", help="your own service, begun at your login (the default)")
    kind.add_argument("--system", action="store_true", help="a service of the system, begun at boot; needs root")
    parser.add_argument("--for", dest="account", metavar="USER", help="with --system: whose (default: who called sudo)")
    parser.add_argument("--print", action="store_true", help="install: show the files, change nothing")
    parser.add_argument("--linger", action="store_true", help="install: let your services run without a login")
    parser.add_argument("--json", action="store_true", help="status: one JSON document")
    parser.add_argument("-f", "--follow", action="store_true", help="logs: go on with what is written, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=argument_values.count, metavar="N", help="logs: lines to begin with (50)")
    parser.add_argument("-p", "--priority", metavar="LEVEL", help="logs: this and worse: warning, err, …")


def run(args: argparse.Namespace) -> int:
    from ingestctl.service import detect

    for name, actions in _ONLY.items():
        if getattr(args, name) and args.action not in actions:
            raise rpc.usage(
                f"it is for {' and '.join(actions)}", operation="use", object=f"--{name} with {args.action}",
                remedy=f"ingestctl service {args.action}",
            )  # fmt: skip
    if args.account and not args.system:
        raise rpc.usage(
            "a user's own service is installed by that user", operation="use", object="--for without --system",
            remedy="ingestctl service install --system --for USER",
        )  # fmt: skip
    if args.linger and args.system:
        raise rpc.usage(
            "a service of the system needs no lingering user", operation="use", object="--linger with --system",
            remedy="leave --linger out",
        )  # fmt: skip
    if args.action in ("install", "uninstall") and locations.chosen():
        raise rpc.usage(
            "it names somebody's daemon, and a service is about one's own", operation=args.action,
            object="a service while INGESTD_SOCKET is set",
            remedy=f"env -u INGESTD_SOCKET ingestctl service {args.action}",
        )  # fmt: skip
    found = detect.service(system=args.system, user=args.account)
    if args.action in ("status", "logs") and not (args.user or args.system):
        found = detect.installed() or found  # whichever of the two it is
    if args.action == "status":
        return _status(found, args)
    if args.action == "logs":
        return _logs(found, args)
    return _install(found, args) if args.action == "install" else _uninstall(found)


# ------------------------------------------------------------------------------------------------ install, uninstall


def _install(found: Service, args: argparse.Namespace) -> int:
    from ingestctl.service import files, variables

    if args.print:
        files.show(found.files())
        return rpc.EXIT_OK
    found.check()
    found.check_alone()
    if found.installed() and not found.same_home():
        raise rpc.CommandError(
            "it is there for another INGESTD_HOME, whose jobs would stand still from then on",
            operation="install", object=found.name,
            remedy="set INGESTD_HOME as it was then, or take that service away first: "
            f"ingestctl service uninstall{found.flags}",
        )  # fmt: skip
    if left := variables.settings_left_out():
        print(
            f"Note: {', '.join(left)} hold in this shell alone; the service has {locations.config()}", file=sys.stderr
        )
    found.prepare()
    before = found.show()
    written = found.write()
    for path in written:
        print(f"wrote {path}")
    running = before["ActiveState"] in ("active", "activating")
    if not running:
        _hand_over(found)
    renew = running and (bool(written) or _version(found) not in ("", __version__))
    if renew:
        print("restarting it: what is in the model finishes first …", file=sys.stderr)
    now = found.up(restart=renew)
    if args.linger:
        found.enable_linger()
    word = "restarted" if renew else "runs already, nothing was to change" if running else "started"
    print(f"{found.name}: {word} (pid {now['MainPID']})")
    print(_when(found))
    look, logs = (f"ingestctl service {verb}{found.flags}" for verb in ("status", "logs -f"))
    print(f"look on with: {look}; {logs}", file=sys.stderr)
    return rpc.EXIT_OK


def _hand_over(found: Service) -> None:
    """End a daemon that was started by hand, in order: the service goes on with its jobs."""
    from ingestctl.service import run_as_user

    if found.account is not None and found.account.pw_uid != os.getuid():
        done = run_as_user.client(found.account, "shutdown")
        if done.returncode:
            raise rpc.CommandError(
                done.stderr.strip(), operation="end", object=f"the daemon that {found.account.pw_name} has started",
                remedy="as that user: ingestctl shutdown",
            )  # fmt: skip
        if done.stdout:
            print(f"{clean(done.stdout.strip())}: the service goes on with its jobs")
        return
    try:
        rpc.Connection().close()
    except rpc.Away as away:
        if not away.absent:
            raise
        return
    from ingestctl import daemon_process

    print("a daemon that was started by hand runs: the service goes on with its jobs", file=sys.stderr)
    if pid := daemon_process.end():
        print(f"the daemon (pid {pid}) has ended")


def _when(found: Service) -> str:
    """When it runs, and the command that would change that."""
    if found.account is not None:
        return f"it starts at boot, as {found.account.pw_name}"
    if sys.platform == "darwin":
        return "it starts when you log in, and ends when you log out"
    linger = found.linger()
    if linger:
        return "it starts at boot and goes on when you log out (lingering is on)"
    remedy = "ingestctl service install --linger"
    doubt = " (no logind to ask here)" if linger is None else ""
    return f"it starts when you log in, and ends when you log out{doubt}; to have it from boot on: {remedy}"


def _uninstall(found: Service) -> int:
    found.check()
    if not found.installed():
        print(f"{found.name} is not installed", file=sys.stderr)
    else:
        print("ending it: what is in the model finishes first …", file=sys.stderr)
    found.down()
    for path in found.erase():
        print(f"removed {path}")
    print(f"jobs and results stay in {_state(found)}; they go on with: ingestctl start")
    if found.account is None and found.linger():
        print("lingering is still on, for your other services; off: loginctl disable-linger", file=sys.stderr)
    return rpc.EXIT_OK


def _state(found: Service) -> str:
    if found.account is None or found.account.pw_uid == os.getuid():
        return locations.state()
    return os.environ.get("INGESTD_HOME") or f"{found.account.pw_dir}/.local/state/ingestd"


# ------------------------------------------------------------------------------------------------------ status, logs


def _status(found: Service, args: argparse.Namespace) -> int:
    document = _facts(found)
    good = document["installed"] and document["active"] == "active"
    if args.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        for name, text in _told(found, document):
            print(f"{name:<10} {clean(text)}")
    return rpc.EXIT_OK if good else rpc.EXIT_ERROR


def _facts(found: Service) -> dict[str, Any]:
    from ingestctl.service import files
    from ingestctl.service.systemd import ending

    now = found.show()
    installed = found.installed()
    return {
        "service": found.unit,
        "scope": "system" if found.account is not None else "user",
        "installed": installed,
        "file": found.unit_file,
        "current": installed and not files.changed(found.files()),
        "enabled": now["UnitFileState"].startswith("enabled"),
        "active": now["ActiveState"] or "unknown",
        "sub": now["SubState"],
        "since": now["ActiveEnterTimestamp"],
        "pid": int(now["MainPID"] or 0),
        "says": now["StatusText"],
        "restarts": int(now["NRestarts"] or 0),
        "last_exit": ending(now),
        "linger": found.linger() if found.account is None else None,
        "version": _version(found),
        "client_version": __version__,
    }


def _told(found: Service, facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("service", found.name.removeprefix("the "))]
    install = f"{'sudo ' if found.account is not None else ''}ingestctl service install{found.flags}"
    stale = "" if facts["current"] else f", as another version or environment wrote it; renew: {install}"
    lines.append(("installed", f"{facts['file']}{stale}" if facts["installed"] else f"no; {install}"))
    if not facts["installed"] and facts["active"] != "active":
        return lines
    if facts["active"] == "unknown":
        return [*lines, ("state", f"unknown: {_unmanaged(found)}")]
    enabled = "yes" if facts["enabled"] else f"no: it does not start by itself; {install}"
    state = f"{facts['active']} ({facts['sub']})"
    if facts["active"] == "active":
        state += f" since {facts['since']}" if facts["since"] else ""
        state += f", pid {facts['pid']}"
    if facts["restarts"]:
        state += f", started again {facts['restarts']} times by itself"
    lines += [("enabled", enabled), ("state", state)]
    if facts["says"]:
        lines.append(("says" if facts["pid"] else "said last", facts["says"]))
    if facts["last_exit"]:
        lines.append(("last exit", facts["last_exit"]))
    if facts["active"] not in ("active", "activating"):
        lines.append(("try", f"{found.start_command()}; ingestctl service logs{found.flags}"))
    if facts["enabled"]:
        lines.append(("runs", _when(found)))
    if facts["version"] not in ("", facts["client_version"]):
        mismatch = f"daemon {facts['version']}, this client {facts['client_version']}; renew: {install}"
        lines.append(("version", mismatch))
    elif facts["version"]:
        lines.append(("version", facts["version"]))
    return lines


def _unmanaged(found: Service) -> str:
    """Why its state is unknown, with the remedy."""
    try:
        found.check_manager()
    except rpc.CommandError as failure:
        return f"{failure.message}; {failure.remedy}"
    return "its service manager says nothing of it; see: journalctl -b -n 50"


def _version(found: Service) -> str:
    """The version of the daemon that answers here; empty where none does, or where it is somebody else's."""
    if found.account is not None and found.account.pw_uid != os.getuid():
        return ""
    try:
        return str(rpc.call("hello", {})["version"])
    except rpc.CommandError:
        return ""


def _logs(found: Service, args: argparse.Namespace) -> int:
    command = found.logs_command(args.lines or 50, args.follow, args.priority)
    sys.stdout.flush()
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise rpc.CommandError(
            error.strerror or str(error), operation="run", object=command[0], remedy="ingestctl logs"
        ) from None
