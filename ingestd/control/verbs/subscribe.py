"""The verb ``subscribe``: a stream of jobs' statuses as they change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from ingestd.control.verb_context import VerbContext
from ingestd.policy.notices import JobChanged, Notice
from ingestd.protocol import control as c

PAUSE_S: Final = 0.25
"""Seconds between two rounds. What changes meanwhile is sent once, as it is then."""


async def stream(context: VerbContext, params: c.Subscribe, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Send the jobs as they are, then each job that has changed, until the client goes.

    A slow client gets fewer events, never a backlog. Raises ``IngestError`` when there is no such job.
    """
    s, jobbook = context.supervisor, context.jobbook
    only = (await jobbook.one(params.job, "follow")).row.id if params.job else None
    changed: set[int] = set()
    woken = anyio.Event()

    def heard(notice: Notice) -> None:
        if isinstance(notice, JobChanged) and only in (None, notice.job):
            changed.add(notice.job)
            woken.set()

    unlisten = s.notices.listen(heard)
    try:
        known = [f for f in await jobbook.facts() if only in (None, f.row.id)]
        await send({"result": c.SubscribeReply([jobbook.describe(f) for f in known])})
        while True:
            await woken.wait()
            woken = anyio.Event()
            jobs_now, now = set(changed), s.clocks.wall_ms() / 1000
            changed.clear()
            for facts in await jobbook.facts():
                if facts.row.id in jobs_now:
                    event = c.Event("job", now, jobbook.describe(facts))
                    await send({"jsonrpc": "2.0", "method": "event", "params": event})
            await anyio.sleep(PAUSE_S)
    finally:
        unlisten()
