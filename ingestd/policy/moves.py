"""How a job changes its status: by the table of ``states``, and what a fault makes of it. Pure."""

from __future__ import annotations

from typing import Final

from ingestd.policy import messages as w
from ingestd.policy.state import JobView, View
from ingestd.policy.states import JOB_MOVES, JobEvent, move_job

SOURCE_RETRY_S: Final = 30.0
"""Seconds until a source that is away, or whatever else a job waits for, is tried again; doubled from wait to wait."""

SLOWEST_RETRY_S: Final = 600.0
"""The longest of these waits: a fault that stays is looked at no less often."""


def moved(
    job: JobView, event: JobEvent, reason: str = "", *, actor: str = "", retry_at: float | None = None
) -> w.SetStatus:
    """Move a job by the table and say so. ``retry_at``: when one that is to wait is tried again (steady seconds).

    Raises ``IllegalMove`` when the table has no such move.
    """
    job.status = move_job(job.status, event)
    job.reason = reason
    job.retry_at = retry_at if job.status == "waiting" else None
    return w.SetStatus(job.id, job.status, reason, actor)


def fault(view: View, job: JobView, kind: str, reason: str, now: float) -> list[w.Command]:
    """Something that the job needs is wrong: for good (``misconfigured``), so that it fails, or for a while."""
    event: JobEvent = "misconfigured" if kind == "misconfigured" else "wait"
    if view.closing or event not in JOB_MOVES[job.status]:
        return []  # at a shutdown a job keeps its status: what ends then says nothing of it
    if event == "misconfigured":
        return [moved(job, event, reason)]
    job.waits += 1
    seconds = min(SLOWEST_RETRY_S, SOURCE_RETRY_S * 2 ** (job.waits - 1))
    return [moved(job, event, reason, retry_at=now + seconds)]
