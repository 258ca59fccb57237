"""Processes that take too long: to load, or to go after they were asked. Pure.

A process that hangs says nothing, so only its time tells. It is asked first and killed later, once each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ingestd.policy import messages as w
from ingestd.policy.moves import moved
from ingestd.policy.state import JobView, SinkEnding, SinkStarting, SinkView, View, WalkStopping, WorkerView

DRAIN_S: Final = 60.0
"""Seconds for a model batch to finish after a pause; past it the worker is ended and its items are released."""

CLOSING_DRAIN_S: Final = 15.0
"""The same when the daemon shuts down: a service manager waits for it."""

WALK_END_S: Final = 10.0
"""Seconds for a walker to go: it only lists, so it is slow because its source is, and a pause waits for it."""

LOAD_S: Final = 900.0
"""Seconds for a process to load its models or to open its store: on a slow disk it takes minutes, and not for ever."""

LOAD_RETRY_S: Final = 300.0
"""Seconds until it is tried again."""


def slow_load(view: View, job: JobView, now: float) -> list[w.Command]:
    """A process that hangs while it loads models would stand for ever: the job waits, and says why."""
    if all(now - since <= LOAD_S for since in _loading(view, job)):
        return []
    reason = f"degraded: the models were not loaded within {LOAD_S / 60:.0f} minutes"
    return [moved(job, "wait", reason, retry_at=now + LOAD_RETRY_S)]


def overdue(view: View, now: float) -> list[w.Command]:
    """Processes that were asked to go, at a pause or at the end of their work, and are still there; sinks that do not
    open, which are begun again."""
    commands: list[w.Command] = []
    for job in view.jobs.values():
        if isinstance(job.walk, WalkStopping) and not job.walk.killed and now > job.walk.since + WALK_END_S:
            job.walk = replace(job.walk, killed=True)
            commands.append(w.EndWalk(job.id, at_once=True))
        for sink in job.sinks.values():
            state, end = sink.state, _sink_deadline(view, sink)
            if isinstance(state, SinkStarting | SinkEnding) and end is not None and now > end:
                sink.state = replace(state, killed=True)
                commands.append(w.EndSink(job.id, sink.name, at_once=True))
    for worker in view.workers.values():
        if _is_leaving(worker) and now > worker.since + _patience(view):
            worker.state = "killed"
            commands.append(w.Kill(worker.id, f"it did not end within {_patience(view):.0f} seconds"))
    return commands


def times(view: View) -> list[float]:
    """When a process becomes overdue, or has loaded for too long."""
    found = [worker.since + _patience(view) for worker in view.workers.values() if _is_leaving(worker)]
    for job in view.jobs.values():
        found += [since + LOAD_S for since in _loading(view, job)]
        if isinstance(job.walk, WalkStopping) and not job.walk.killed:
            found.append(job.walk.since + WALK_END_S)
        found += [end for sink in job.sinks.values() if (end := _sink_deadline(view, sink)) is not None]
    return found


def _loading(view: View, job: JobView) -> list[float]:
    """Since when processes of a running job load models."""
    if job.status != "running" or view.closing:
        return []
    since = [worker.since for worker in view.workers_of(job.id) if worker.state == "starting"]
    return [*since, job.probe.since] if job.probe else since


def _sink_deadline(view: View, sink: SinkView) -> float | None:
    """Until when a sink's process must have opened its place, or must have gone; None where it need not."""
    match sink.state:
        case SinkStarting(since, killed=False):
            return since + LOAD_S
        case SinkEnding(since, killed=False):
            return since + _patience(view)
    return None


def _is_leaving(worker: WorkerView) -> bool:
    return worker.state in ("draining", "finishing")


def _patience(view: View) -> float:
    """Seconds for a process that was asked to go."""
    return CLOSING_DRAIN_S if view.closing else DRAIN_S
