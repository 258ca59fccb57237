"""The jobs as the ledger and their files have them: read at the start, read again when they change, forgotten."""

from __future__ import annotations

import sqlite3
from typing import Any

import anyio

from ingestd.ledger import jobfiles, jobs
from ingestd.policy import messages as w
from ingestd.policy.pace import Pace
from ingestd.policy.state import JobView
from ingestd.records import JobRow, StepRow, Tally
from ingestd.supervisor.shared import Shared


class JobRecords:
    """Keeps ``shared.rows``, ``steps`` and ``recipes`` as the ledger has them, and ``jobs/<uuid>.json`` with them.

    ``files``: held while a job's file is written or deleted, so that no late writer brings a removed one back.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.files = anyio.Lock()

    async def load(self) -> None:
        """Take every job of the ledger into the view, at the start."""

        def read(db: sqlite3.Connection) -> list[int]:
            return [row.id for row in jobs.rows(db)]

        for job_id in await self._shared.ledger.read(read):
            try:
                await self.keep_file(job_id)
            except OSError as error:  # a full disk: the job is in the ledger, and its file is written when it changes
                self._shared.log.warning("job file not written", cause=error.strerror or str(error))
            await self.know(job_id)

    async def know(self, job_id: int) -> None:
        """Read a job (again) from the ledger and tell the view."""
        s = self._shared

        def read(db: sqlite3.Connection) -> tuple[JobRow, list[StepRow], Tally, dict[str, int]]:
            row, have = jobs.row(db, job_id), jobs.cursors(db, job_id)
            cursors = {sink.name: have[sink.name].seq for sink in row.sinks if sink.name in have}
            return row, jobs.steps(db, job_id), jobs.tally(db, job_id), cursors

        row, steps, tally, cursors = await s.ledger.read(read)
        s.rows[job_id] = row
        if steps or job_id not in s.steps:  # a probe may have been quicker than this reading
            s.steps[job_id] = steps
            s.recipes[job_id] = jobs.recipe(steps)
        s.paces.setdefault(job_id, Pace())
        s.post(w.JobKnown(JobView.of(row, tally, bool(steps), cursors)))

    async def keep_file(self, job: int) -> None:
        """Write ``jobs/<uuid>.json`` as the ledger has the job now: what a lost ledger's job is made again from."""
        s = self._shared

        def read(db: sqlite3.Connection) -> jobfiles.JobFile | None:
            row = next((row for row in jobs.rows(db) if row.id == job), None)
            return jobfiles.of_job(row, jobs.roots(db, row.roots)) if row else None

        async with self.files:
            file = await s.ledger.write(read)  # after whatever was changed before this call
            view = s.view.jobs.get(job)
            if file is not None and not (view and view.removing):
                await anyio.to_thread.run_sync(jobfiles.keep, s.places.state / "jobs", file)

    def set_status(self, command: w.SetStatus) -> None:
        """Log a job's new status and store it."""
        s = self._shared
        view = s.view.jobs[command.job]
        # What a person is to see among the warnings: it has failed, or waits until some trouble is over.
        trouble = command.status == "failed" or (command.status == "waiting" and view.retry_at is not None)
        tell = s.log.warning if trouble else s.log.info
        tell("job status", job=view.name, status=command.status, reason=command.reason, actor=command.actor)
        now = s.clocks.wall_ms()
        status: Any = command.status
        future = s.ledger.write(lambda db: jobs.set_status(db, command.job, status, command.reason, command.actor, now))
        s.then(future, lambda _: None)
        s.paces[command.job].interrupted()

    def forget(self, job: int) -> None:
        """A job was removed from the ledger."""
        s = self._shared
        for kept in (s.rows, s.steps, s.recipes, s.paces, s.estimates, s.recent):
            kept.pop(job, None)
        s.post(w.JobForgotten(job))
