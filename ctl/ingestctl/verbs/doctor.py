"""``doctor``: one line per finding of the daemon's program about this machine, with its remedy; and the service."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from contextlib import closing

from ingestctl import rpc
from ingestctl.daemon_oneshot import lines
from ingestctl.terminal_text import clean, duration, many, paint_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ingestctl.service.detect import Service

SERVICE_S = 8.0
"""Seconds for the service manager to answer."""

_WORDS = {"ok": "ok", "warn": "warn", "fail": "FAIL"}
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}
_LEVEL_CELLS = 4
_WHAT_CELLS = 12
_INSTALL = "ingestctl service install"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Works with and without a daemon, and changes nothing. 'warn' breaks nothing; 'FAIL' will, or does already.\n\n"
        "examples:\n  ingestctl doctor\n  ingestctl doctor --load\n"
        "  ingestctl doctor --json | jq '.findings[] | select(.level != \"ok\")'\n\n"
        "exit codes: 0 nothing will break, 1 something will\n"
    )
    parser.add_argument("--load", action="store_true", help="load the models too: seconds to minutes, and their memory")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    service = _ServiceCheck()
    findings: list[dict[str, Any]] = []
    show = _shower(args)

    def take(finding: dict[str, Any]) -> None:
        findings.append(finding)
        show(finding)

    whole = False
    with closing(lines("doctor", *(["load"] if args.load else []))) as answers:
        for answer in answers:
            if "finding" in answer:
                take(answer["finding"])
            whole = whole or "verdict" in answer
    if not whole:
        raise rpc.CommandError(
            "it ended before it was through", operation="examine", object="this machine",
            remedy="try again; what was found so far stands",
        )  # fmt: skip
    take(service.finding())
    counts = {level: sum(one["level"] == level for one in findings) for level in _WORDS}
    seconds = time.monotonic() - began
    if args.json:
        document = {"findings": findings, "counts": counts, "seconds": round(seconds, 3)}
        print(json.dumps(document, ensure_ascii=False))
    else:
        told = [f"{counts['ok']} ok", many(counts["warn"], "warning"), f"{counts['fail']} FAIL"]
        print(f"{', '.join(told)}, in {duration(seconds)}", file=sys.stderr)
    return rpc.EXIT_ERROR if counts["fail"] else rpc.EXIT_OK


def _shower(args: argparse.Namespace) -> Any:
    paint = paint_for(sys.stdout, args.color)

    def show(finding: dict[str, Any]) -> None:
        level = str(finding["level"])
        head = paint(_STYLES.get(level, ""), _WORDS.get(level, level).ljust(_LEVEL_CELLS))
        remedy = f" — {clean(finding['remedy'])}" if finding["remedy"] else ""
        print(f"{head}  {clean(finding['what']):<{_WHAT_CELLS}}  {clean(finding['finding'])}{remedy}", flush=True)

    return (lambda finding: None) if args.json else show


# --------------------------------------------------------------------------------------------------------- the service


class _ServiceCheck:
    """Asks the service manager in a thread while the rest is checked; one that does not answer is not waited for."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []
        self._until = time.monotonic() + SERVICE_S
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        try:
            self._found.append(service_finding())
        except rpc.CommandError as failure:
            text = f"cannot {failure.operation} {failure.object}: {failure.message}"
            self._found.append(_finding("warn", text, failure.remedy))
        except Exception as error:  # whatever the service manager does, the other findings are shown
            self._found.append(
                _finding("warn", f"the check failed: {type(error).__name__}: {error}", "report this line")
            )

    def finding(self) -> dict[str, Any]:
        """What was found about the service, or that its manager did not answer in time."""
        self._thread.join(max(0.1, self._until - time.monotonic()))
        late = _finding("fail", f"the service manager did not answer within {SERVICE_S:.0f} s", "systemctl status")
        return self._found[0] if self._found else late


def service_finding() -> dict[str, Any]:
    """Whether the daemon starts by itself and goes on when nobody is logged in."""
    from ingestctl.service import files
    from ingestctl.service.detect import installed, service
    from ingestctl.service.systemd import reason

    if sys.platform != "darwin" and not os.path.isdir("/run/systemd/system"):
        text = "not installed: no systemd runs here (a container, perhaps), so nothing starts the daemon after a reboot"
        return _finding("warn", text, f"let the container, or whatever boots, run: {sys.executable} -m ingestd")
    mine = installed()
    found = mine or service(system=False, user=None)
    if not found.installed():
        return _finding("warn", "not installed: after a reboot the daemon stays away until ingestctl start", _INSTALL)
    if mine is None:
        return _finding("warn", f"{found.unit_file} is about another INGESTD_HOME than this one", _INSTALL)
    now = found.show()
    if now["ActiveState"] == "failed":
        remedy = f"ingestctl service logs{found.flags}; then {found.start_command()}"
        return _finding("fail", f"{found.name} has failed: {reason(now) or 'no reason given'}", remedy)
    if files.changed(found.files()):
        text = f"{found.unit_file} is as another version or environment wrote it"
        return _finding("warn", text, f"{_again(found)} renews it")
    if not now["UnitFileState"].startswith("enabled"):
        return _finding("warn", f"{found.name} is there and does not start by itself", _again(found))
    if now["ActiveState"] == "inactive":
        return _finding("warn", f"{found.name} is installed and stopped", found.start_command())
    state = f"{found.name} is installed, {now['ActiveState']}"
    if found.account is None and found.linger() is False:
        text = f"{state}; it ends when you log out, and starts when you log in"
        return _finding("warn", text, f"{_INSTALL} --linger has it go on, from boot on")
    return _finding("ok", state)


def _again(found: Service) -> str:
    return f"{'sudo ' if found.account is not None else ''}{_INSTALL}{found.flags}"


def _finding(level: str, finding: str, remedy: str = "") -> dict[str, Any]:
    return {"level": level, "what": "service", "finding": finding, "remedy": remedy}
