"""``ingestctl doctor``: will jobs run well on this machine? Works with and without a daemon, and changes nothing.

``checking`` runs checks side by side, each with a deadline; ``context`` is what they go by (settings, the ledger's
jobs, what a daemon says of itself); ``doctor_child`` speaks with children, which touch what may hang or weighs much.
The checks, one family a file: ``places`` (state folder, ledger, log, socket, daemon), ``sources``, ``models`` (with
memory), ``sinks``, ``kinds`` (those of other packages), ``machine`` (open files, clock), ``power`` (awake, lid),
``locks``. The client adds what it knows of the service."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import anyio
import msgspec

from ingestd.doctor import kinds, locks, machine, models, places, power, sinks, sources
from ingestd.doctor.checking import CHILD_S, Check, examine, refused
from ingestd.doctor.context import Context, look
from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.protocol.doctor import Finding

Tell = Callable[[Finding], None]

DISK: Final = "Its disk does not answer: look at its health, and at the kernel's log (dmesg)"
BUS: Final = "See whether logind and D-Bus are well: loginctl; journalctl -u dbus"
BUSY: Final = "The machine may be overloaded: look with top, then ask again"


def checks(context: Context) -> list[Check]:
    """In the order in which they are told."""
    return [
        Check("daemon", partial(places.daemon, context), BUSY),
        Check("state folder", partial(places.state, context), DISK),
        Check("ledger", partial(places.ledger, context), DISK),
        Check("log", partial(places.log, context), DISK),
        Check("socket", partial(places.socket, context), DISK),
        Check("source", partial(sources.sources, context), BUSY, CHILD_S),
        Check("model", partial(models.models, context), BUSY, CHILD_S + 2),
        Check("sink", partial(sinks.sinks, context), BUSY, CHILD_S + 2),
        Check("packages", partial(kinds.kinds, context), DISK),
        Check("open files", partial(machine.files, context), BUSY),
        Check("clock", partial(machine.clock, context), BUSY),
        Check("awake", partial(power.awake, context), BUS, CHILD_S),
        Check("lid", partial(power.lid, context), BUS, CHILD_S),
        Check("lockdown", partial(locks.lockdown, context), BUSY, CHILD_S),
    ]


def run(words: Sequence[str], say: Callable[[object], None]) -> int:
    """Examine this machine: a line ``{"finding": {…}}`` for each finding, ``{"verdict": {…}}`` last; exit code 0.

    ``words`` is empty, or ``load``: then models are loaded too. Raises ``Misconfigured``.
    """
    if list(words) not in ([], ["load"]):
        raise Misconfigured(
            f"{list(words)} are no words for it", operation="answer", object="the verb doctor",
            remedy="Call it through ingestctl doctor [--load]", exit=EXIT_USAGE,
        )  # fmt: skip
    anyio.run(_run, bool(words), say, backend="asyncio")
    return 0


async def _run(load: bool, say: Callable[[object], None]) -> None:
    began = time.monotonic()

    def tell(finding: Finding) -> None:
        say({"finding": msgspec.structs.asdict(finding)})

    context = await look()
    if context.settings_error is not None:
        tell(refused("settings", context.settings_error))
    counts = await examine(checks(context), tell)
    if load:
        with tempfile.TemporaryDirectory(prefix="ingestd-doctor-") as scratch:
            context.scratch = context.scratch or scratch  # nothing of its own is made by a look
            more = await examine([Check("load", partial(models.load, context), BUSY, math.inf)], tell)
        counts = {level: counts[level] + more[level] for level in counts}
    counts["fail"] += context.settings_error is not None
    say({"verdict": {**counts, "seconds": round(time.monotonic() - began, 3)}})
    # A thread or a child that a dead disk holds in the kernel may never come back: nobody waits for it here.
    sys.stdout.flush()
    os._exit(0)
