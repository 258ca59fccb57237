"""Makes the job that a ``start`` request asks for, or lets a known job go on."""

from __future__ import annotations

import re
import sqlite3
import uuid
from typing import NamedTuple

from ingestd.control.start import asked_job
from ingestd.control.start.resolve_sources import ResolvedSource
from ingestd.control.verb_context import VerbContext
from ingestd.ledger import jobs
from ingestd.policy import messages as w
from ingestd.protocol import control as c
from ingestd.records import JobRow, RootRef
from ingestd.supervisor.loop import Supervisor


class BegunJob(NamedTuple):
    """The job's id, with the ``outcome`` and the ``notes`` of ``protocol.control.StartReply``."""

    outcome: str
    id: int
    notes: list[str]


async def make_job(
    context: VerbContext, params: c.Start, roots: list[RootRef], sources: list[ResolvedSource]
) -> BegunJob:
    """Store a new job and queue it. Raises ``Misconfigured``."""
    s = context.supervisor
    spec, sinks, notes = asked_job.of_new(params, context.settings, s.shared.step_kinds, s.shared.sink_kinds)
    ident, now = str(uuid.uuid4()), s.clocks.wall_ms()
    name = params.name or _free_name(s, params, sources)

    def add(db: sqlite3.Connection) -> JobRow:
        return jobs.add(db, uuid=ident, name=name, refs=roots, spec=spec, sinks=sinks, actor=params.actor, now=now)

    row = await s.ledger.write(add)
    await s.keep_job_file(row.id)
    await s.know(row.id)
    await s.settled()
    return BegunJob("created", row.id, notes)


async def continue_job(context: VerbContext, params: c.Start, row: JobRow) -> BegunJob:
    """Store what the request changes, have the sources walked again, and let the job take its turn.

    Raises ``IngestError`` when the request asks for other steps than the job has, and ``Misconfigured``.
    """
    s = context.supervisor
    spec, sinks, notes = asked_job.of_known(params, row, s.shared.step_kinds, s.shared.sink_kinds)
    s.walks.outdate(row.id)
    before, now = s.view.jobs[row.id].status, s.clocks.wall_ms()
    await s.ledger.write(lambda db: jobs.change_request(db, row.id, spec, sinks, now))
    await s.keep_job_file(row.id)
    await s.know(row.id)
    # The job may have been paused, or have ended, in between: only one of the two is a legal move, and it is the one
    # that takes effect.
    s.post(w.MoveRequested(row.id, "resume", params.actor))
    s.post(w.MoveRequested(row.id, "more", params.actor))
    outcome = {"running": "running", "queued": "running", "completed": "rescanning"}.get(before, "resumed")
    await s.settled()
    return BegunJob(outcome, row.id, notes)


def _free_name(s: Supervisor, params: c.Start, sources: list[ResolvedSource]) -> str:
    """The last part of the first source's path, or ``list-<sha8>`` for a list; with a number where it is taken."""
    if params.list_sha256:
        base = f"list-{params.list_sha256[:8]}"
    else:
        text = (sources[0].only or sources[0].path).rstrip(b"/").rpartition(b"/")[2].decode("utf-8", "replace")
        base = re.sub(r"[^\w.-]+", "-", text).strip("-.") or "job"
    taken = {row.name for row in s.rows.values() if s.view.jobs[row.id].status != "stopped"}
    names = [base, *(f"{base}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)
