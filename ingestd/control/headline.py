"""The daemon's work in one line, for ``systemctl status``: what it is at, or why it is at nothing."""

from __future__ import annotations

from ingestd.control.status import phase_of
from ingestd.policy.state import JobView
from ingestd.supervisor.loop import Supervisor

ACTIVE = ("running", "waiting", "queued")


def headline(supervisor: Supervisor) -> str:
    """``holidays: 1,234 of 20,000, 3.1/s, working``; of several active jobs the one that works, and their number."""
    if supervisor.ledger.trouble:
        return f"waiting: {supervisor.ledger.trouble}"
    jobs = list(supervisor.view.jobs.values())
    active = sorted((job for job in jobs if job.status in ACTIVE), key=lambda job: ACTIVE.index(job.status))
    if not active:
        paused = sum(job.status == "paused" for job in jobs)
        rest = [f"{len(jobs):,} {'job' if len(jobs) == 1 else 'jobs'}"] if jobs else ["no job yet"]
        rest += [f"{paused:,} paused"] if paused else []
        return f"idle: {', '.join(rest)}"
    others = f" (and {len(active) - 1:,} more)" if len(active) > 1 else ""
    return _of(active[0], supervisor) + others


def _of(job: JobView, supervisor: Supervisor) -> str:
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
