"""Processes that hang, not die, as tables: each is asked, then killed, once."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd.policy import messages as w
from ingestd.policy.deadlines import CLOSING_DRAIN_S, DRAIN_S, LOAD_RETRY_S, LOAD_S, WALK_END_S
from ingestd.policy.deliveries import RESTARTS_S
from ingestd.policy.state import Rescan, SinkView, Walking
from tests.policy.views import ENDING, STARTING, decide, job, kinds, next_wake, tally, view, working


@pytest.mark.parametrize(("closing", "seconds"), [(False, DRAIN_S), (True, CLOSING_DRAIN_S)])
def test_a_worker_that_does_not_drain_is_ended(closing: bool, seconds: float) -> None:
    """After a pause in a minute, at a shutdown sooner; once."""
    v, _ = working(3)
    v.closing = closing
    decide(v, w.MoveRequested(1, "pause", ""), 0.0)
    assert decide(v, w.Tick(), seconds) == []
    assert kinds(decide(v, w.Tick(), seconds + 0.01)) == ["Kill"]
    assert decide(v, w.Tick(), seconds + 5) == []


def test_a_walker_that_does_not_end_is_ended() -> None:
    """A source that hangs holds it: a pause must not wait for ever. Asked, then ended, once each."""
    v, seconds = view(job(walk=Walking(), rescan=Rescan())), WALK_END_S
    assert w.EndWalk(1) in decide(v, w.MoveRequested(1, "pause", ""), 0.0)
    assert next_wake(v, seconds - 1) == pytest.approx(1.0, abs=0.01)
    assert decide(v, w.Tick(), seconds) == []
    assert decide(v, w.Tick(), seconds + 0.01) == [w.EndWalk(1, at_once=True)]
    assert decide(v, w.Tick(), seconds + 100) == []


@pytest.mark.parametrize(("state", "seconds"), [(ENDING, DRAIN_S), (STARTING, LOAD_S)])
def test_a_sink_that_hangs_is_ended(state: Any, seconds: float) -> None:
    """One that neither opens nor closes would keep its job from completing, or from being removed, for ever."""
    v = view(job(1, "paused", sinks={"a": SinkView("a", 0, state)}, tally=tally(feed_seq=5)))
    assert next_wake(v, seconds - 1) == pytest.approx(1.0, abs=0.01)
    assert decide(v, w.Tick(), seconds) == []
    assert decide(v, w.Tick(), seconds + 0.01) == [w.EndSink(1, "a", at_once=True)]
    assert decide(v, w.Tick(), 2 * seconds) == []
    after = decide(v, w.SinkGone(1, "a", False, "", "it was ended by SIGKILL"), 2 * seconds)
    assert after + decide(v, w.Tick(), 2 * seconds + RESTARTS_S[0]) == [w.StartSink(1, "a")]


def test_a_worker_that_does_not_load_is_ended_and_the_job_says_so() -> None:
    """It hangs in its libraries: the job waits and says so, the worker goes, and it is tried again."""
    v = view(job(tally=tally(pending=10)))
    decide(v, w.Tick(), 0.0)
    assert next_wake(v, LOAD_S - 1) == pytest.approx(1.0, abs=0.01)
    assert decide(v, w.Tick(), LOAD_S) == []
    status, kill = decide(v, w.Tick(), LOAD_S + 0.01)
    assert isinstance(status, w.SetStatus)
    assert (status.status, "not loaded within 15 minutes" in status.reason) == ("waiting", True)
    assert isinstance(kill, w.Kill)
    decide(v, w.WorkerGone(1, False, "", "killed"), LOAD_S + 1)
    assert kinds(decide(v, w.Tick(), LOAD_S + LOAD_RETRY_S + 1)) == ["SetStatus", "Spawn"]


def test_a_probe_that_hangs_is_ended_and_the_job_says_so() -> None:
    """The same for the process that resolves the models; a pause meanwhile would end it as well."""
    v = view(job(1, "queued", resolved=False))
    decide(v, w.Tick(), 0.0)
    assert decide(v, w.Tick(), LOAD_S) == []
    assert kinds(decide(v, w.Tick(), LOAD_S + 0.01)) == ["SetStatus", "EndProbe"]
    decide(v, w.ProbeFailed(1, "ended", ""), LOAD_S + 1)
    assert kinds(decide(v, w.Tick(), LOAD_S + LOAD_RETRY_S + 1)) == ["SetStatus", "StartProbe"]
