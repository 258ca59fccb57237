"""When a sink's process is begun, told of more, and ended. Pure.

It lives while it has something to deliver or was searched lately, whatever the job's status.
"""

from __future__ import annotations

from typing import Final

from ingestd.policy import messages as w
from ingestd.policy.moves import SLOWEST_RETRY_S, fault
from ingestd.policy.state import JobView, SinkEnding, SinkOff, SinkOn, SinkStarting, SinkView, View

SEARCHED_S: Final = 300.0
"""Seconds that a store stays open after a search."""

IDLE_S: Final = 5.0
"""Seconds that a sink without anything to deliver stays open: the next commit is often near."""

RESTARTS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds until a sink's process that ended by itself is begun again, from failure to failure in a row."""


def deliver(view: View, job: JobView, now: float) -> list[w.Command]:
    """What the job's sinks need next."""
    return [command for sink in job.sinks.values() for command in _deliver(view, job, sink, now)]


def _deliver(view: View, job: JobView, sink: SinkView, now: float) -> list[w.Command]:
    end = job.tally.feed_seq
    searched = now - sink.used < SEARCHED_S
    lags = sink.cursor < end
    closing = view.closing or job.removing or sink.dropped
    match sink.state:
        case SinkOff(not_before):
            # A running job opens its sinks before it has anything for them, so that it is told at once of a place that
            # cannot be written.
            wanted = lags or searched or (job.status == "running" and job.resolved)
            if wanted and now >= not_before and not closing:
                sink.state = SinkStarting(now, end)
                return [w.StartSink(job.id, sink.name)]
        case SinkOn(told, idle_since):
            if closing or not (lags or searched or job.status == "running" or now - idle_since < IDLE_S):
                sink.state = SinkEnding(now)
                return [w.EndSink(job.id, sink.name)]
            if end > told:
                sink.state = SinkOn(end, idle_since)
                return [w.WakeSink(job.id, sink.name, end)]
        case SinkStarting() if closing:
            sink.state = SinkEnding(now)
            return [w.EndSink(job.id, sink.name)]
    return []


def times(job: JobView) -> list[float]:
    """When time alone changes what ``deliver`` says."""
    found: list[float] = []
    for sink in job.sinks.values():
        match sink.state:
            case SinkOff(not_before):
                found.append(not_before)
            case SinkOn(idle_since=idle_since):
                found += [idle_since + IDLE_S, sink.used + SEARCHED_S]
    return found


def delivered(sink: SinkView, seq: int, now: float) -> None:
    """Everything up to ``seq`` is durable there: its place is open, and whatever was wrong is over."""
    sink.cursor, sink.failures, sink.message = seq, 0, ""
    if isinstance(sink.state, SinkStarting | SinkOn):
        sink.state = SinkOn(sink.state.told, now)


def process_gone(view: View, job: JobView, sink: SinkView, event: w.SinkGone, now: float) -> list[w.Command]:
    """Its process has ended. One that was not asked to is begun again after a while, whatever its exit code."""
    asked = isinstance(sink.state, SinkEnding)
    sink.state = SinkOff()
    if sink.dropped:
        del job.sinks[sink.name]
        return []
    if asked:
        return []
    sink.message = event.cause
    if event.kind == "misconfigured":
        sink.state = SinkOff(now + SLOWEST_RETRY_S)
    else:
        sink.state = SinkOff(now + RESTARTS_S[min(sink.failures, len(RESTARTS_S) - 1)])
    sink.failures += 1
    return fault(view, job, event.kind, event.cause, now) if event.kind == "misconfigured" else []
