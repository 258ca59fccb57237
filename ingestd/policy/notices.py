"""What listeners are told of the daemon's work, and what of it follows from a decision. Pure.

``subscribe`` is a listener. What only the parts know that do the work (a batch, an item that failed) they tell
themselves; the rest is read off the event, the commands that it led to, and the view before and after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingestd.policy import messages as w
from ingestd.policy.state import View


@dataclass(frozen=True, slots=True)
class Notice:
    """Something has happened to a job. ``at``: Unix milliseconds; ``job``: its id, ``name`` and ``uuid`` beside it."""

    at: int
    job: int
    name: str
    uuid: str


@dataclass(frozen=True, slots=True)
class JobChanged(Notice):
    """Something that ``status`` shows of the job may have changed. Comes often, with or without a notice of its own."""


@dataclass(frozen=True, slots=True)
class JobRemoved(Notice):
    """The job and its results are gone."""


@dataclass(frozen=True, slots=True)
class JobMoved(Notice):
    """The job has another status; ``actor``: the person who asked for it, empty for the daemon."""

    status: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class JobFinished(JobMoved):
    """Everything is done and delivered: so many items, of which ``failed`` ended without a result."""

    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class JobFailed(JobMoved):
    """Only a person's change will help; ``reason`` says which."""


@dataclass(frozen=True, slots=True)
class JobWaits(JobMoved):
    """The job has nothing to do but to wait. ``trouble``: until something is mended (a source is away, the disk is
    full, workers die: degraded); else its sinks are still delivering."""

    trouble: bool


@dataclass(frozen=True, slots=True)
class WalkFinished(Notice):
    """A walk of the sources has ended. ``whole``: it counts, else it is made again; ``trouble``: a source is away.

    ``found`` and ``skipped`` are the job's counts after it.
    """

    whole: bool
    trouble: str
    found: int
    skipped: int


@dataclass(frozen=True, slots=True)
class SinkAway(Notice):
    """A sink cannot deliver; it is tried again by itself. ``message``: why."""

    sink: str
    message: str


@dataclass(frozen=True, slots=True)
class SinkBack(Notice):
    """A sink that was away delivers again."""

    sink: str


@dataclass(frozen=True, slots=True)
class WorkerDied(Notice):
    """A worker's process ended by itself. ``kind``: ``crash``, ``unavailable``, …; ``items``: what it was at."""

    batch: int
    kind: str
    cause: str
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BatchEnded(Notice):
    """A worker's batch is over and in the ledger: of ``given`` items; the rest of its window was taken back."""

    batch: int
    died: bool
    given: int
    peak_bytes: int | None
    cpu_s: float | None


@dataclass(frozen=True, slots=True)
class ItemFailed(Notice):
    """An item is quarantined, or a step of it failed. ``message`` is empty where it could quote a description."""

    item: int
    path: bytes
    kind: str
    stage: str
    message: str


# ------------------------------------------------------------------------------------------------------ from decisions


@dataclass(frozen=True, slots=True)
class Before:
    """What notices compare with: the job that an event is about, and its sink's message, before it was decided."""

    job: int | None = None
    name: str = ""
    uuid: str = ""
    sink_message: str = ""


_NOTHING = Before()


def before(view: View, event: w.Event) -> Before:
    """To be taken before ``decide`` changes the view."""
    ident = event.job.id if isinstance(event, w.JobKnown) else getattr(event, "job", None)
    if ident is None:
        return _NOTHING
    job = view.jobs.get(ident)
    if job is None:
        return Before(ident)
    sink = job.sinks.get(getattr(event, "sink", ""))
    return Before(ident, job.name, job.uuid, sink.message if sink else "")


def of_decision(was: Before, event: w.Event, commands: Sequence[w.Command], view: View, at: int) -> list[Notice]:
    """What an event and its commands mean to listeners, in order; ``view`` is as it is after them."""
    found: list[Notice] = []
    changed = [] if was.job is None else [was.job]
    for command in commands:
        if isinstance(command, w.SetStatus):
            found.append(_moved(command, view, at))
            changed.append(command.job)
    found += _of_event(was, event, view, at)
    for ident in dict.fromkeys(changed):
        if job := view.jobs.get(ident):
            found.append(JobChanged(at, ident, job.name, job.uuid))
    return found


def _moved(command: w.SetStatus, view: View, at: int) -> JobMoved:
    job = view.jobs[command.job]
    told = (at, job.id, job.name, job.uuid, command.status, command.reason, command.actor)
    match command.status:
        case "completed":
            return JobFinished(*told, job.tally.done, job.tally.failed)
        case "failed":
            return JobFailed(*told)
        case "waiting":
            return JobWaits(*told, job.retry_at is not None)
    return JobMoved(*told)


def _of_event(was: Before, event: w.Event, view: View, at: int) -> list[Notice]:
    if was.job is None or not was.name:
        return []
    about = (at, was.job, was.name, was.uuid)
    match event:
        case w.JobForgotten():
            return [JobRemoved(*about)]
        case w.WalkEnded(counts=counts, trouble=trouble, tally=tally):
            return [WalkFinished(*about, counts, trouble, tally.found, tally.skipped)]
        case w.SinkDelivered(sink=name) | w.SinkTrouble(sink=name) | w.SinkGone(sink=name):
            sink = view.sink(was.job, name)
            message = sink.message if sink else ""
            if message and not was.sink_message:
                return [SinkAway(*about, name, message)]
            if was.sink_message and sink and not message:
                return [SinkBack(*about, name)]
    return []
