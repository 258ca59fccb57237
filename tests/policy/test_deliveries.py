"""When a sink has a process, as tables."""

from __future__ import annotations

import pytest

from ingestd.policy import messages as w
from ingestd.policy.deliveries import RESTARTS_S
from ingestd.policy.state import SinkOn, SinkView
from tests.policy.views import ON, STARTING, decide, job, kinds, next_wake, tally, view


def test_a_sink_that_was_taken_away_ends() -> None:
    """Its process is told to end; it delays nothing and is forgotten with its process; asked again it starts new."""
    v = view(job(1, "completed", sinks={"a": SinkView("a", 2, ON), "b": SinkView("b", 2)}, tally=tally(feed_seq=5)))
    assert decide(v, w.JobKnown(job(1, "completed", sinks={})), 0.0) == [w.EndSink(1, "a")]
    assert v.jobs[1].lagging == []
    assert list(v.jobs[1].sinks) == ["a"]
    assert decide(v, w.SinkGone(1, "a", True, "", ""), 1.0) == []
    assert v.jobs[1].sinks == {}
    assert decide(v, w.JobKnown(job(1, "completed", sinks={"a": SinkView("a", 0)})), 2.0) == [w.StartSink(1, "a")]


def test_a_job_waits_for_its_sinks_at_the_end_alone() -> None:
    """Everything computed, one sink behind: it waits and says so; delivered, it is completed without a turn."""
    v = view(job(sinks={"a": SinkView("a", 2, SinkOn(5, 0.0))}, tally=tally(done=5, feed_seq=5)))
    (status,) = decide(v, w.Tick(), 0.0)
    assert status == w.SetStatus(1, "waiting", "everything is computed; delivering to a", "")
    assert decide(v, w.SinkDelivered(1, "a", 5), 1.0) == [w.SetStatus(1, "completed", "", "")]


def test_a_retry_wakes_a_job_that_waits_for_a_sink() -> None:
    """There is something to compute again: the sink may stay away."""
    v = view(job(1, "waiting", sinks={"a": SinkView("a", 2, SinkOn(5, 0.0))}, tally=tally(failed=1, feed_seq=5)))
    commands = decide(v, w.Tallied(1, tally(pending=1, feed_seq=5)), 0.0)
    assert kinds(commands) == ["SetStatus", "Spawn"]


@pytest.mark.parametrize("clean", [False, True])
def test_a_sink_that_ends_by_itself_is_started_again_after_a_while(clean: bool) -> None:
    """Whatever its exit code: one that opens and ends must not be started in a circle."""
    v = view(job(1, "paused", sinks={"a": SinkView("a", 0, STARTING)}, tally=tally(feed_seq=5)))
    for wait in RESTARTS_S:
        v.jobs[1].sinks["a"].state = STARTING
        assert decide(v, w.SinkGone(1, "a", clean, "", "x"), 100.0) == []
        assert next_wake(v, 100.0) == pytest.approx(wait, abs=0.01)
    assert decide(v, w.MoveRequested(1, "resume", ""), 101.0)[-1] == w.StartSink(1, "a"), "a person's word: at once"


def test_an_idle_sink_ends_and_a_search_keeps_it() -> None:
    """Some seconds after its last delivery; five minutes after a search."""
    v = view(job(1, "completed", sinks={"a": SinkView("a", 5, SinkOn(5, 0.0))}, tally=tally(feed_seq=5)))
    decide(v, w.SinkWanted(1, "a"), 0.0)
    assert decide(v, w.Tick(), 299.0) == []
    assert decide(v, w.Tick(), 300.1) == [w.EndSink(1, "a")]
    assert decide(v, w.SinkGone(1, "a", True, "", ""), 301.0) == []
    assert decide(v, w.SinkWanted(1, "a"), 302.0) == [w.StartSink(1, "a")]
