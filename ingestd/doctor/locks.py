"""What children are kept from: what the machine offers for that, and what a worker is really held to."""

from __future__ import annotations

import os

from ingestd.doctor.context import Context
from ingestd.doctor.doctor_child import child
from ingestd.executors.base import ChildSpec
from ingestd.lockdown import landlock
from ingestd.lockdown.offers import offers
from ingestd.protocol.doctor import Finding
from ingestd.protocol.work import FromWorker, Locked, ToWorker, WorkerSetup


async def lockdown(context: Context) -> list[Finding]:
    """Each means that the kernel has, and a worker that is locked as a job's would be."""
    setting = context.settings["lockdown"]
    kernel = landlock.kernel()
    found = []
    for offer in offers(setting, kernel):
        # What an older kernel lacks of a means that it has is told, and nobody needs to act on it.
        partly = offer.what == "landlock" and kernel.abi > 0
        level = "ok" if offer.whole or partly else "warn"
        remedy = "" if offer.whole or partly else offer.remedy
        found.append(Finding(level, "lockdown", f"{offer.what}: {offer.words}", remedy))  # type: ignore[arg-type]
    return found + (await _worker(context) if setting == "auto" else [])


async def _worker(context: Context) -> list[Finding]:
    """A worker with nothing to do says what it gave up, and is ended."""
    locked: Locked | None = None
    spec = ChildSpec("ingestd.worker", "doctor: lockdown", ToWorker, FromWorker, lockdown="auto")
    async with child(spec) as (handle, asked):
        handle.send(WorkerSetup([], context.machine(None), [os.fsencode(context.places.state)]))
        async for answer in asked.answers():
            if not isinstance(answer, Locked):
                raise asked.unexpected(answer)
            locked = answer
            break
    if locked is None:
        return [Finding("warn", "lockdown", f"a worker did not start: {asked.last_line()}", "See: ingestctl logs")]
    words = f"in force in a worker: {', '.join(locked.force) or 'nothing'}"
    if locked.missing:
        words += f"; not: {', '.join(locked.missing)}"
    return [Finding("ok", "lockdown", words)]
