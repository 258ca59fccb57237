"""The verb ``remove``: forget a job that does not run, with its rows and stores; the user's files stay."""

from __future__ import annotations

from ingestd.control.full_disk import check_writable
from ingestd.control.verb_context import VerbContext
from ingestd.errors import IngestError
from ingestd.policy import messages as w
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Remove) -> c.RemoveReply:
    """See ``protocol.control.Remove``. Raises ``IngestError`` for a job that has not ended, and ``Unavailable`` while
    nothing can be stored."""
    s, jobbook = context.supervisor, context.jobbook
    async with context.starting:  # a start of its folder has begun it again by now, or finds it gone
        facts = await jobbook.one(params.job, "remove")
        row, status = facts.row, jobbook.status_now(facts)
        check_writable(s.ledger, "remove", f"the job {row.name}")
        if status not in ("completed", "failed", "stopped") or not s.view.quiet(row.id):
            raise IngestError(
                f"it is {status}", operation="remove", object=f"the job {row.name}",
                remedy=f"First: ingestctl stop {row.name}",
            )  # fmt: skip
        s.post(w.JobRemoving(row.id))
        await s.settled()
    return await s.remove(row)
