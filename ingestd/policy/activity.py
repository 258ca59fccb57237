"""Whether there is work that the machine must stay awake for. Pure; ``plan`` asks it last.

Only what makes progress counts: items in workers, a walk, a probe that resolves or fetches models, a delivery. A pause,
a wait for a source, a sink or free space, and the time after the last job do not: the machine may sleep then.
"""

from __future__ import annotations

from typing import Final

from ingestd.policy import messages as w
from ingestd.policy.state import JobView, Probing, SinkOn, SinkStarting, View, Walking

AFTER_S: Final = 1.0
"""Seconds of work before the machine is asked: none falls asleep in so short a time, and a handful of files, or a try
whether a source is back, is over by then."""

STALL_S: Final = 3600.0
"""Seconds without any sign of progress after which the machine may sleep although something still seems to work. Longer
than the slowest batch of descriptions on a small processor, and than a process may load (``deadlines.LOAD_S``)."""

_SIGNS: Final = (w.Resolved, w.WorkerReady, w.ItemBegan, w.ItemHashed, w.ContentKnown, w.ItemOutcome, w.Stored,
                 w.SinkDelivered)  # fmt: skip


def is_sign(event: w.Event) -> bool:
    """Whether an event says that work has moved on. A death and what it leaves behind do not."""
    if isinstance(event, w.Tallied):
        return event.gone is None
    if isinstance(event, w.WalkEnded):
        return event.counts
    return isinstance(event, _SIGNS)


def busy(view: View) -> bool:
    """Whether anything of any job is at work now."""
    return not view.stuck and any(_busy(view, job) for job in view.jobs.values())


def _busy(view: View, job: JobView) -> bool:
    if isinstance(job.walk, Walking) or isinstance(job.probe, Probing):
        return True
    if any(worker.state != "killed" for worker in view.workers_of(job.id)):
        return True
    # Between two workers: a dead one's items are being taken back, or a cooldown runs that a sleep would not end.
    if job.status == "running" and job.tally.open and not view.closing:
        return True
    return any(isinstance(sink.state, SinkStarting | SinkOn) and not sink.message for sink in job.lagging)


def awake(view: View, now: float) -> list[w.Command]:
    """Ask for the machine to be kept awake, or let it go; nothing where it is as it should be."""
    if not busy(view):
        view.busy_since = None
        return _let_go(view, "")
    if view.busy_since is None:
        view.busy_since = now
    if now - _moved(view, view.busy_since) >= STALL_S:
        return _let_go(view, f"nothing has moved for {STALL_S / 60:.0f} minutes")
    if view.awake or view.closing or now - view.busy_since < AFTER_S:
        return []
    view.awake = True
    return [w.Awake(True)]


def _let_go(view: View, reason: str) -> list[w.Command]:
    if not view.awake:
        return []
    view.awake = False
    return [w.Awake(False, reason)]


def _moved(view: View, since: float) -> float:
    """When something last moved; a cooldown that was asked for stands still for as long as it was asked."""
    rests = [at for job in view.jobs.values() if job.status == "running" for at in job.slots.values()]
    return max(view.moved, since, *rests)


def times(view: View) -> list[float]:
    """When time alone changes what ``awake`` says."""
    if view.busy_since is None:
        return []
    if view.awake:
        return [_moved(view, view.busy_since) + STALL_S]
    return [] if view.closing else [view.busy_since + AFTER_S]
