"""A job that is removed: its rows, its stores under the state folder and its file; the user's own files stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio

from ingestd.ledger import jobfiles, jobs
from ingestd.policy import messages as w
from ingestd.policy.recipe import shown_place
from ingestd.protocol.control import RemoveReply
from ingestd.records import JobRow
from ingestd.supervisor.job_records import JobRecords
from ingestd.supervisor.read_scope import ReadScope
from ingestd.supervisor.shared import Shared


async def remove(shared: Shared, records: JobRecords, read_scope: ReadScope, row: JobRow) -> RemoveReply:
    """Forget a job that does not run, once its sinks have ended. Its rows go last: a removal that a power cut ends is
    seen in ``status``, and can be asked for again."""
    state = shared.places.state
    shared.post(w.JobRemoving(row.id))
    view = shared.view.jobs[row.id]
    await shared.until(lambda: view.removing and all(sink.is_off for sink in view.sinks.values()))
    await shared.until(lambda: shared.view.quiet(row.id))
    async with records.files:
        jobfiles.forget(state / "jobs", row.uuid)
    spooled = row.spec.list_file
    others = {other.spec.list_file for other in shared.rows.values() if other.id != row.id}
    if spooled and Path(spooled).parent == state / "spool" and spooled not in others:
        await anyio.to_thread.run_sync(lambda: Path(spooled).unlink(missing_ok=True))
    folder = state / "sinks" / row.uuid
    steps = [step.step for step in shared.steps.get(row.id, [])]
    kept = [shown_place(state, row, sink, steps, shared.sink_kinds) for sink in row.sinks if sink.place]
    await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
    freed = 0
    while count := await shared.ledger.write(lambda db: jobs.remove_page(db, row.id)):
        freed += count
    read_scope.forget(row.id)
    records.forget(row.id)
    return RemoveReply(row.name, row.uuid, freed, kept)
