"""The verb ``failed``: a page of a job's failed items, each with its reason and remedy."""

from __future__ import annotations

from ingestd.control.verb_context import VerbContext
from ingestd.ledger import report
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Failed) -> c.FailedReply:
    """See ``protocol.control.FailedReply``. Raises ``IngestError`` when there is no such job."""
    facts = await context.jobbook.one(params.job, "list the failures of")
    ledger = context.supervisor.ledger
    rows, following = await ledger.browse(
        lambda db: report.failed_page(db, facts.row.id, params.kind, params.after, params.limit)
    )
    total = facts.tally.failed
    if params.kind is not None:
        kinds = await ledger.browse(lambda db: report.failures_by_kind(db, facts.row.id))
        total = kinds.get(params.kind, 0)
    return c.FailedReply(facts.row.name, total, rows, following)
