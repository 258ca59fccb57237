"""One line on what the daemon does now, or why it does nothing. The service manager shows it (``systemctl status``)."""

from __future__ import annotations

from typing import Final

from ingestd.control.job_status import phase_of
from ingestd.policy.state import JobView
from ingestd.supervisor.loop import Supervisor

WITH_WORK: Final = ("running", "waiting", "queued")
"""Statuses of a job that has work left; the line shows the job whose status comes first here."""


def status_line(supervisor: Supervisor) -> str:
    """The line, as in ``holidays: 1,234 of 20,000, 3.1/s, working``.

    Of several jobs with work left the running one is shown, and the others are counted.
    """
    if supervisor.ledger.trouble:
        return f"waiting: {supervisor.ledger.trouble}"
    jobs = list(supervisor.view.jobs.values())
    active = sorted((job for job in jobs if job.status in WITH_WORK), key=lambda job: WITH_WORK.index(job.status))
    if not active:
        paused = sum(job.status == "paused" for job in jobs)
        rest = [f"{len(jobs):,} {'job' if len(jobs) == 1 else 'jobs'}"] if jobs else ["no job yet"]
        rest += [f"{paused:,} paused"] if paused else []
        return f"idle: {', '.join(rest)}"
    others = f" (and {len(active) - 1:,} more)" if len(active) > 1 else ""
    return _job_line(active[0], supervisor) + others


def _job_line(job: JobView, supervisor: Supervisor) -> str:
    tally = job.tally
    parts = [f"{tally.done + tally.failed:,} of {tally.found:,}"] if tally.found else []
    if tally.failed:
        parts.append(f"{tally.failed:,} failed")
    pace = supervisor.paces.get(job.id)
    if job.status == "running" and pace and (rate := pace.rate()):
        parts.append(f"{rate:.1f}/s" if rate >= 0.95 else f"{rate * 60:.1f}/min")
    phase = phase_of(job, supervisor)
    parts.append(f"waiting: {job.reason}" if job.status == "waiting" and phase == "waiting" and job.reason else phase)
    return f"{job.name}: {', '.join(parts)}"
