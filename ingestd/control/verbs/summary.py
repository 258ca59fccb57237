"""The verb ``summary``: a job's success rate, failures by kind, time for each phase, batches."""

from __future__ import annotations

from ingestd.control.verb_context import VerbContext
from ingestd.ledger import report
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Summary) -> c.SummaryReply:
    """See ``protocol.control.SummaryReply``. Raises ``IngestError`` when there is no such job."""
    facts = await context.jobbook.one(params.job, "sum up")
    now = context.supervisor.clocks.wall_ms()
    slow = await context.supervisor.ledger.browse(lambda db: report.summary(db, facts.row.id, now))
    ended = facts.tally.done + facts.tally.failed
    rate = facts.tally.done / ended if ended else None
    return c.SummaryReply(
        context.jobbook.describe(facts), rate, slow.contents, slow.attempts, slow.active_s, slow.phases,
        slow.failures, slow.batches, slow.odd,
    )  # fmt: skip
