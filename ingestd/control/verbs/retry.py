"""The verb ``retry``: failed items become pending again, and the job takes its turn."""

from __future__ import annotations

from ingestd.control.full_disk import check_writable
from ingestd.control.jobbook import was_removed
from ingestd.control.verb_context import VerbContext
from ingestd.errors import IngestError
from ingestd.ledger import items, jobs, report
from ingestd.policy import messages as w
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import path_bytes


async def handle(context: VerbContext, params: c.Retry) -> c.RetryReply:
    """See ``protocol.control.Retry``. Raises ``IngestError`` for a job that is stopped or removed meanwhile, and
    ``Unavailable`` while nothing can be stored."""
    s, jobbook = context.supervisor, context.jobbook
    facts = await jobbook.one(params.job, "retry")
    job, name = facts.row.id, facts.row.name
    check_writable(s.ledger, "retry", f"the job {name}")
    if jobbook.status_now(facts) == "stopped":
        raise IngestError(
            "it was stopped for good", operation="retry", object=f"the job {name}",
            remedy="Start its folder again: a new job reuses what this one made",
        )  # fmt: skip
    only = await _items_at(context, job, params) if params.paths else None
    retried, after = 0, 0
    while True:
        if job not in s.recipes:  # a remove came in between
            raise was_removed()
        start_at, recipe = after, s.recipes[job]
        count, following, tally = await s.ledger.write(
            lambda db: (*items.retry(db, job, recipe, start_at, params.kind, only), jobs.tally(db, job))  # noqa: B023
        )
        retried += count
        if following is None:
            break
        after = following
    s.post(w.Tallied(job, tally))
    if retried:
        s.post(w.MoveRequested(job, "more", ""))
    await s.settled()
    return c.RetryReply(await jobbook.status(job), retried)


async def _items_at(context: VerbContext, job: int, params: c.Retry) -> frozenset[int]:
    """The job's items at the paths that were given."""
    paths = [path_bytes(path) for path in params.paths]
    ledger = context.supervisor.ledger
    found = await ledger.browse(lambda db: [hit for path in paths for hit in report.items_at(db, path)])
    return frozenset(item for item, of in found if of == job)
