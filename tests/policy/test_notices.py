"""What listeners are told of a decision, as a table: a view, an event, and the notices that follow."""

from __future__ import annotations

import pytest

from ingestd.policy import messages as w, notices as n
from ingestd.policy.state import Rescan, SinkView, View, Walking
from tests.policy.views import ON, at, decide_all, job, tally, view, working

ONE = (at(5.0).wall_ms, 1, "job1", "uuid-1")
TWO = (at(5.0).wall_ms, 2, "job2", "uuid-2")
CHANGED = n.JobChanged(*ONE)


def told(v: View, *events: w.Event) -> list[n.Notice]:
    """The notices of the last event."""
    found: list[n.Notice] = []
    for event in events:
        was = n.before(v, event)
        commands = decide_all(v, event, 5.0)
        found = n.of_decision(was, event, commands, v, at(5.0).wall_ms)
    return found


def sinks(message: str = "", cursor: int = 2) -> dict[str, SinkView]:
    return {"a": SinkView("a", cursor, ON, message)}


@pytest.mark.parametrize(
    ("v", "event", "expected"),
    [
        # The job's status.
        (
            view(job(tally=tally(running=1))),
            w.MoveRequested(1, "pause", "me"),
            [n.JobMoved(*ONE, "paused", "", "me"), CHANGED],
        ),
        (
            view(job(rescan=Rescan(), walk=Walking())),
            w.WalkEnded(1, True, "", tally(done=7, failed=2, skipped=3)),
            [n.JobFinished(*ONE, "completed", "", "", 7, 2), n.WalkFinished(*ONE, True, "", 9, 3), CHANGED],
        ),
        (
            view(job(resolved=False)),
            w.ProbeFailed(1, "misconfigured", "no such model"),
            [n.JobFailed(*ONE, "failed", "no such model", ""), CHANGED],
        ),
        (
            view(job()),
            w.DiskShort(1, "the disk is full"),
            [n.JobWaits(*ONE, "waiting", "the disk is full", "", True), CHANGED],
        ),
        (
            view(job(sinks=sinks(), tally=tally(done=5, feed_seq=5))),
            w.Tallied(1, tally(done=5, feed_seq=5)),
            [n.JobWaits(*ONE, "waiting", "everything is computed; delivering to a", "", False), CHANGED],
        ),
        (  # the next job's turn comes with the end of the one before
            view(job(), job(2, "queued", tally=tally(pending=1))),
            w.Tick(),
            [
                n.JobFinished(*ONE, "completed", "", "", 0, 0), n.JobMoved(*TWO, "running", "", ""),
                CHANGED, n.JobChanged(*TWO),
            ],
        ),
        # Its walk.
        (
            view(job(rescan=Rescan(), walk=Walking(), tally=tally(pending=4))),
            w.WalkEnded(1, False, "it is away", tally(pending=4)),
            [n.WalkFinished(*ONE, False, "it is away", 4, 0), CHANGED],
        ),
        # Its sinks.
        (
            view(job(1, "paused", sinks=sinks())),
            w.SinkTrouble(1, "a", "no route"),
            [n.SinkAway(*ONE, "a", "no route"), CHANGED],
        ),
        (view(job(1, "paused", sinks=sinks("no route"))), w.SinkTrouble(1, "a", "refused"), [CHANGED]),
        (view(job(1, "paused", sinks=sinks("no route"))), w.SinkTrouble(1, "a", ""), [n.SinkBack(*ONE, "a"), CHANGED]),
        (view(job(1, "paused", sinks=sinks("no route"))), w.SinkDelivered(1, "a", 3), [n.SinkBack(*ONE, "a"), CHANGED]),
        (view(job(1, "paused", sinks=sinks())), w.SinkDelivered(1, "a", 3), [CHANGED]),
        (
            view(job(1, "paused", sinks=sinks())),
            w.SinkGone(1, "a", False, "", "SIGSEGV"),
            [n.SinkAway(*ONE, "a", "SIGSEGV"), CHANGED],
        ),
        (view(job(1, "paused", sinks=sinks())), w.SinkTrouble(1, "b", "it was dropped"), [CHANGED]),
        # What comes and goes, and what is nobody's.
        (view(), w.JobKnown(job(1, "paused")), [CHANGED]),
        (view(job(1, "stopped")), w.JobForgotten(1), [n.JobRemoved(*ONE)]),
        (view(), w.JobForgotten(1), []),
        (view(), w.SinkGone(1, "a", False, "", "SIGSEGV"), []),
        (working(1)[0], w.ItemBegan(1, 1), []),
        (view(job(1, "paused")), w.Tick(), []),
    ],
)  # fmt: skip
def test_what_follows_from_a_decision(v: View, event: w.Event, expected: list[n.Notice]) -> None:
    """Each with the wall's time and the job's name and uuid; a change without a notice of its own is one all the
    same; what concerns no job, or one that is not known, is not told."""
    assert told(v, event) == expected


def test_a_sink_that_comes_back_by_itself_is_told_once() -> None:
    """Away once, however often it says why; back once, when something is delivered."""
    v = view(job(1, "paused", sinks=sinks(), tally=tally(feed_seq=9)))
    story = [
        w.SinkTrouble(1, "a", "no route"), w.SinkTrouble(1, "a", "refused"), w.SinkGone(1, "a", False, "", "died"),
        w.SinkDelivered(1, "a", 3), w.SinkDelivered(1, "a", 4),
    ]  # fmt: skip
    heard = [notice for event in story for notice in told(v, event) if not isinstance(notice, n.JobChanged)]
    assert heard == [n.SinkAway(*ONE, "a", "no route"), n.SinkBack(*ONE, "a")]
