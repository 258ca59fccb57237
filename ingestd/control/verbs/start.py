"""The verb ``start``: make a job of these sources, or let the job that they are go on."""

from __future__ import annotations

from typing import Final

import anyio

from ingestd.config import check_model
from ingestd.control.full_disk import check_writable
from ingestd.control.start.asked_job import models_of
from ingestd.control.start.begin_job import BegunJob, continue_job, make_job
from ingestd.control.start.known_job import known_job
from ingestd.control.start.resolve_sources import resolve_sources
from ingestd.control.verb_context import VerbContext
from ingestd.errors import EXIT_USAGE, IngestError, Misconfigured
from ingestd.ledger import jobs
from ingestd.policy.state import JobView
from ingestd.protocol import control as c
from ingestd.records import RootRef

SETTLE_S: Final = 3.0
"""Seconds that ``start`` waits for models and sinks, so that a plain mistake is told at once."""

MAX_NAME: Final = 200
"""Characters of a job's name: it stands in a line of ``status``."""


async def handle(context: VerbContext, params: c.Start) -> c.StartReply:
    """See ``protocol.control.Start``. Raises ``IngestError`` when the request, a source or a model cannot be used, and
    ``Unavailable`` while nothing can be stored."""
    s = context.supervisor
    _check(params)
    check_writable(s.ledger, "start", "a job")
    for model in models_of(params):
        check_model(model)
    await s.shared.look_for_kinds()
    sources = await resolve_sources(context, params)
    root_ids = await s.ledger.write(lambda db: jobs.add_roots(db, [source[:3] for source in sources]))
    refs = [RootRef(root, source.only) for root, source in zip(root_ids, sources, strict=True)]
    roots = list(dict.fromkeys(refs))  # a source that is named twice counts once
    async with context.starting:  # two requests for one new folder must not make two jobs of it
        known = known_job(s.rows.values(), s.view, params, roots)
        if known is None:
            begun = await make_job(context, params, roots, sources)
        else:
            begun = await continue_job(context, params, known)
    return await _reply(context, begun)


def _check(params: c.Start) -> None:
    """Raises ``IngestError`` for sources or a name that no job can have."""
    if bool(params.sources) == bool(params.list_file):
        raise IngestError(
            "give folders, or a list of files, and not both", operation="start", object="a job",
            remedy="ingestctl start FOLDER, or: find … | ingestctl start -", exit=EXIT_USAGE,
        )  # fmt: skip
    name = params.name
    if name is not None and not (0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
        raise IngestError(
            "it is empty, too long, or cannot be printed", operation="use", object="the --name",
            remedy=f"Give one of 1 to {MAX_NAME} printable characters", exit=EXIT_USAGE,
        )  # fmt: skip


async def _reply(context: VerbContext, begun: BegunJob) -> c.StartReply:
    """What became of the job, once it has settled or ``SETTLE_S`` are over. Raises ``Misconfigured`` when it failed."""
    s, job, notes = context.supervisor, begun.id, begun.notes
    with anyio.move_on_after(SETTLE_S):
        await s.until(lambda: job not in s.view.jobs or _settled(s.view.jobs[job]))
    view = s.view.jobs.get(job)
    if view is None or view.removing:
        return c.StartReply(begun.outcome, await context.jobbook.status(job), notes)  # raises: it was removed
    if begun.outcome != "created":
        await s.keep_job_file(job)  # it may have been paused until now
    if view.status == "failed":
        if begun.outcome == "created" and not view.resolved:
            # Nothing came of it yet. If it stayed, the mended command would find it instead of making a job.
            await s.remove(s.rows[job])
        raise Misconfigured(
            view.reason, operation="run", object=f"the job {view.name}",
            remedy="Change what it says, then start again",
        )  # fmt: skip
    if view.status == "queued":
        running = next((other.name for other in s.view.jobs.values() if other.status == "running"), None)
        notes = [*notes, f"it waits its turn behind {running}"] if running else notes
    return c.StartReply(begun.outcome, await context.jobbook.status(job), notes)


def _settled(job: JobView) -> bool:
    """Whether models and sinks have been tried: what is wrong with them has shown by then."""
    if job.status == "queued":
        return job.resolved
    return job.status != "running" or (job.resolved and all(sink.is_on for sink in job.sinks.values()))
