"""Finds the jobs that a request is about, by name or uuid, and tells their status."""

from __future__ import annotations

from typing import Final

from ingestd.control.job_status import job_status
from ingestd.errors import EXIT_USAGE, IngestError
from ingestd.ledger import report
from ingestd.ledger.report import JobFacts
from ingestd.protocol import control as c
from ingestd.supervisor.loop import Supervisor

ACTIVE: Final = ("queued", "running", "waiting", "paused")
"""Statuses of jobs that ``pause``, ``resume`` and ``stop`` choose from when none is named."""

SHORTEST_UUID: Final = 4
"""Characters of a uuid's beginning that may stand for a job."""


def was_removed() -> IngestError:
    """The error for a request that was still under way when its job was removed."""
    return IngestError(
        "it was removed meanwhile", operation="tell about", object="the job", remedy="ingestctl status lists the jobs"
    )


class Jobbook:
    """Every job: what the ledger holds of it, together with what the supervisor knows of it now."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def facts(self) -> list[JobFacts]:
        """Every job as the ledger has it, newest first, without those being removed and those not yet whole."""
        s = self._supervisor
        recent = {job: tuple(items) for job, items in s.recent.items()}
        known = await s.ledger.read(lambda db: report.facts(db, recent))
        return [f for f in known if (view := s.view.jobs.get(f.row.id)) is not None and not view.removing]

    async def one(self, name: str | None, operation: str) -> JobFacts:
        """The job of this name or uuid (a unique beginning will do); the newest where ``name`` is None.

        Raises ``IngestError`` when there is none; it says then that ``operation`` cannot be done.
        """
        known = await self.facts()
        if name is None:
            if known:
                return known[0]
            raise IngestError(
                "there is none yet", operation=operation, object="a job", remedy="Begin one: ingestctl start FOLDER"
            )
        return self._named(known, name, operation)

    async def several(self, name: str | None, every: bool, operation: str) -> list[JobFacts]:
        """The named job; or with ``every`` all active ones; or the only active one.

        Raises ``IngestError`` when there is none, and when there are several to choose from, which it lists.
        """
        known = await self.facts()
        if name is not None:
            return [self._named(known, name, operation)]
        active = [f for f in known if self.status_now(f) in ACTIVE]
        if every or len(active) == 1:
            return active
        if not active:
            if len(known) == 1:
                return known
            raise IngestError(
                "no job is active", operation=operation, object="a job", remedy="ingestctl status lists them"
            )
        names = ", ".join(f.row.name for f in active)
        raise IngestError(
            "several jobs are active", operation=operation, object="a job",
            remedy=f"Name one of {names}, or give --all", exit=EXIT_USAGE,
        )  # fmt: skip

    def status_now(self, facts: JobFacts) -> str:
        """The job's status now: the supervisor's word, which the ledger may not have stored yet."""
        view = self._supervisor.view.jobs.get(facts.row.id)
        return view.status if view else facts.row.status

    def describe(self, facts: JobFacts) -> c.JobStatus:
        """Everything that ``status`` shows of the job, as it is now."""
        return job_status(facts, self._supervisor, self._supervisor.places.state)

    async def status(self, job: int) -> c.JobStatus:
        """The same for the job with this id. Raises ``IngestError`` when it was removed."""
        for facts in await self.facts():
            if facts.row.id == job:
                return self.describe(facts)
        raise was_removed()

    def _named(self, known: list[JobFacts], name: str, operation: str) -> JobFacts:
        exact = [f for f in known if name in (f.row.name, f.row.uuid)]
        living = [f for f in exact if self.status_now(f) != "stopped"]
        begins = [f for f in known if len(name) >= SHORTEST_UUID and f.row.uuid.startswith(name)]
        found = living or exact[:1] or begins
        if len(found) == 1:
            return found[0]
        names = ", ".join(f.row.name for f in known) or "none yet"
        raise IngestError(
            "no job has that name" if not found else "several jobs begin so",
            operation=operation, object=f"the job {name}", remedy=f"The jobs are: {names}", exit=EXIT_USAGE,
        )  # fmt: skip
