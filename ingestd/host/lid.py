"""What closing the lid will do on this machine, now: whether it has one, what feeds it, and who acts on the lid.

logind acts on it unless somebody holds ``handle-lid-switch``; locks against sleep and idleness do not count there
(logind.conf(5), ``LidSwitchIgnoreInhibited``). Desktops often hold that lock to act themselves.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import psutil

from ingestd.host.awake import WHO
from ingestd.host.commands import printed

SYS: Final = Path("/sys")
_ANSWER_S: Final = 5.0
_SW_LID: Final = 1 << 0
"""Bit 0 of an input device's switches: linux/input-event-codes.h."""

_LOGIN1: Final = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
_PROPERTIES: Final = ("HandleLidSwitch", "HandleLidSwitchExternalPower", "HandleLidSwitchDocked", "Docked",
               "OnExternalPower")  # fmt: skip
_SLEEPS: Final = {
    "suspend": "suspends the machine",
    "hibernate": "hibernates the machine",
    "hybrid-sleep": "suspends the machine",
    "suspend-then-hibernate": "suspends the machine",
    "sleep": "suspends the machine",
}
_ENDS: Final = {"poweroff": "switches the machine off", "halt": "halts the machine", "reboot": "restarts the machine",
                "kexec": "restarts the machine"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lid:
    """``on_ac`` None: not known. ``action``: what logind would do, empty where it was not heard. ``keeper``: who else
    holds the lid's lock, so acts in logind's place."""

    present: bool
    on_ac: bool | None = None
    action: str = ""
    keeper: str = ""


def has_lid(sys_folder: Path = SYS) -> bool:
    """Whether an input device of this machine has a lid switch. Of a Mac it is not asked: it counts as having one."""
    if sys.platform == "darwin":
        return True
    for switches in sys_folder.glob("class/input/input*/capabilities/sw"):
        try:
            if int(switches.read_text().split()[-1], 16) & _SW_LID:
                return True
        except (OSError, ValueError, IndexError):
            continue  # it was unplugged just now
    return False


def on_ac() -> bool | None:
    """Whether the mains feed the machine; a machine without a battery has nothing else. None: not known."""
    try:
        battery = psutil.sensors_battery()
    except Exception:  # drivers say the oddest things of a battery, and none of them may end the daemon
        return None
    return True if battery is None else battery.power_plugged


async def read_lid(environ: Mapping[str, str]) -> Lid:
    """Everything that decides what a closed lid does. Answers within some seconds, with less where less is known."""
    if not await anyio.to_thread.run_sync(has_lid):
        return Lid(False)
    power = await anyio.to_thread.run_sync(on_ac)
    busctl = shutil.which("busctl", path=environ.get("PATH"))
    if busctl is None:
        return Lid(True, power)
    known = await _ask(busctl, "get-property", *_LOGIN1, *_PROPERTIES)
    if len(known) != len(_PROPERTIES):
        return Lid(True, power)
    answered = {name: answer.get("data") for name, answer in zip(_PROPERTIES, known, strict=True)}
    if isinstance(said := answered["OnExternalPower"], bool):
        power = said  # logind's own finding is the one that it acts on
    holders = await _ask(busctl, "call", *_LOGIN1, "ListInhibitors")
    return Lid(True, power, action_of(answered, power), keeper_of(holders[0].get("data")) if holders else "")


async def _ask(busctl: str, *words: str) -> list[dict[str, Any]]:
    """What busctl prints, a document a line; nothing where it fails."""
    try:
        documents = [
            json.loads(line) for line in (await printed([busctl, "--json=short", *words], _ANSWER_S)).splitlines()
        ]
    except ValueError:
        return []
    return [document for document in documents if isinstance(document, dict)]


def action_of(properties: Mapping[str, Any], power: bool | None) -> str:
    """Which of logind's three settings holds: docked, on external power (unset: as on battery), on battery."""
    if properties.get("Docked") is True:
        return str(properties.get("HandleLidSwitchDocked") or "")
    unplugged = str(properties.get("HandleLidSwitch") or "")
    return str(properties.get("HandleLidSwitchExternalPower") or unplugged) if power else unplugged


def keeper_of(inhibitors: Any) -> str:
    """The program other than ours that blocks ``handle-lid-switch``, of logind's rows (what, who, why, mode, …)."""
    try:
        for what, who, _, mode, *_ in inhibitors[0]:
            if "handle-lid-switch" in what.split(":") and mode == "block" and who != WHO:
                return str(who)
    except (TypeError, ValueError, IndexError, AttributeError):
        pass  # another release's form of the answer: nothing is known then
    return ""


def closing(lid: Lid, held: bool, platform: str = sys.platform) -> str:
    """What closing the lid does, in one sentence. ``held``: we hold the lid's lock."""
    if not lid.present:
        return "this machine has no lid"
    power = {True: "on AC power", False: "on battery", None: "whatever feeds it"}[lid.on_ac]
    if platform == "darwin":
        return "closing the lid of a Mac puts it to sleep, unless it is on AC power with a display connected"
    if lid.keeper:
        return f"closing the lid does what {lid.keeper} is set to do ({power})"
    if held:
        return "closing the lid changes nothing while this works on AC power; unplugged, the machine may sleep"
    if not lid.action:
        return "what closing the lid does could not be learnt: logind does not answer"
    if lid.action in _SLEEPS:
        return f"closing the lid {_SLEEPS[lid.action]} ({power}); work goes on when it wakes"
    if lid.action in _ENDS:
        return f"closing the lid {_ENDS[lid.action]} ({power}); work goes on at the next start"
    return f"closing the lid lets the machine go on ({power}; logind: {lid.action})"
