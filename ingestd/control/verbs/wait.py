"""The verb ``wait``: answers when a job rests."""

from __future__ import annotations

from typing import Final

from ingestd.control.verb_context import VerbContext
from ingestd.protocol import control as c

RESTING: Final = ("completed", "failed", "stopped", "paused")
"""Statuses of a job that does nothing until somebody asks for it."""


async def handle(context: VerbContext, params: c.Wait) -> c.WaitReply:
    """See ``protocol.control.Wait``. Raises ``IngestError`` when there is no such job, or it is removed meanwhile."""
    s, jobbook = context.supervisor, context.jobbook
    facts = await jobbook.one(params.job, "wait for")
    job = facts.row.id
    await s.until(lambda: job not in s.rows or (jobbook.status_now(facts) in RESTING and s.view.quiet(job)))
    await s.ledger.write(lambda _: None)  # its end is on the disk before the client is told
    return c.WaitReply(await jobbook.status(job))
