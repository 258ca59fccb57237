"""Whether the machine stays awake while jobs run, and what closing the lid does."""

from __future__ import annotations

import os
import sys
from typing import Final

from ingestd.doctor.context import Context
from ingestd.host.awake import Refused, find_method, take
from ingestd.host.lid import Lid, closing, read_lid
from ingestd.host.log_note import own_unit
from ingestd.protocol.doctor import Finding
from ingestd.protocol.status import PowerStatus
from ingestd.supervisor.power import try_awake

ASK_S: Final = 8.0
"""Seconds for the system to grant or refuse: it needs a tenth of one, unless it asks somebody."""

_GOES_ON: Final = ("ignore", "lock", "")


async def awake(context: Context) -> list[Finding]:
    """The lock against sleep is granted: held by a daemon that works, else asked for once, and let go."""
    what = "awake"
    if context.settings["awake"] == "no":
        return [Finding("ok", what, "switched off (awake = no): the machine sleeps as its own settings say")]
    power = context.daemon.status.daemon.power if context.daemon else None
    held_by_daemon = power is not None and power.wanted
    if power is None or not power.wanted:
        power = await try_awake(ASK_S, os.environ)
    if power.method == "none":
        text = "this machine has no way to be kept awake by a program"
        remedy = power.refused[-1].remedy if power.refused else "Keep it from sleeping in its own settings"
        return [Finding("warn", what, f"{text}: it may sleep in the middle of a job", remedy)]
    refused = [one for one in power.refused if one.what != "handle-lid-switch"]
    held = [one for one in power.held if one != "handle-lid-switch"]
    if refused:
        return [_refusal(what, power, held, "" if held_by_daemon else _service(context))]
    if not held:
        text = f"{power.method} did not answer within {ASK_S:.0f} seconds: the machine may sleep in the middle of a job"
        return [Finding("warn", what, text, "See whether logind and D-Bus are well: loginctl; journalctl -u dbus")]
    how = "held now" if held_by_daemon else "granted, and let go again"
    return [Finding("ok", what, f"{' and '.join(held)} held off by {power.method} while a job runs ({how})")]


def _refusal(what: str, power: PowerStatus, held: list[str], service: str) -> Finding:
    names = " and ".join(one.what for one in power.refused if one.what in ("sleep", "idle"))
    but = f"; {' and '.join(held)} is granted" if held else ""
    last = power.refused[-1]
    text = f"the inhibitor against {names or last.what} was refused by {power.method}: {last.why}{but}"
    if service:
        # Its own rule is for the unit alone, so what this shell is refused says nothing of it.
        return Finding("ok", what, f"{text}; that was to this shell, {service} asks for itself while a job runs")
    return Finding("warn", what, f"{text}; the machine may sleep in the middle of a job", last.remedy)


def _service(context: Context) -> str:
    """The system's service that runs the daemon, empty where none does."""
    if context.daemon is None or sys.platform != "linux":
        return ""
    try:
        with open(f"/proc/{context.daemon.hello.pid}/cgroup", encoding="utf-8", errors="replace") as file:
            note = own_unit(file.read())
    except OSError:
        return ""
    return f"the service {note.unit}" if note.unit.startswith("ingestd@") and not note.user else ""


async def lid(context: Context) -> list[Finding]:
    """What closing it does here, now."""
    found = await read_lid(os.environ)
    power = context.daemon.status.daemon.power if context.daemon else None
    held = "handle-lid-switch" in power.held if power and power.wanted else await _lid_granted(context, found)
    sentence = closing(found, held)
    if _works_on(found, held):
        return [Finding("ok", "lid", sentence)]
    remedy = "Leave it open, or plug the machine in: on AC power the lid is held off where that is granted"
    return [Finding("warn", "lid", sentence, remedy)]


async def _lid_granted(context: Context, found: Lid) -> bool:
    """Whether the lid's own lock, which is asked for on AC power alone, would be granted."""
    if not found.present or found.on_ac is not True or context.settings["awake"] == "no":
        return False
    method = await find_method(sys.platform, os.environ)
    if method is None or not method.lid:
        return False
    try:
        lock = await take(method, method.lid, ASK_S)
    except Refused:
        return False
    await lock.release()
    return True


def _works_on(lid: Lid, held: bool) -> bool:
    return not lid.present or held or (not lid.keeper and lid.action in _GOES_ON)
