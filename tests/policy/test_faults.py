"""What ends by itself, what is away, and what follows: deaths, faults, walks and sinks, as tables."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd.policy import messages as w
from ingestd.policy.deadlines import DRAIN_S, LOAD_RETRY_S, LOAD_S, WALK_END_S
from ingestd.policy.decide import DEATHS_TOLERATED
from ingestd.policy.deliveries import RESTARTS_S
from ingestd.policy.moves import SLOWEST_RETRY_S
from ingestd.policy.plan import QUIET_S
from ingestd.policy.state import Probing, Rescan, SinkOn, SinkView, Walking
from ingestd.protocol.work import Drain
from tests.policy.views import ENDING, ON, STARTING, decide, job, kinds, next_wake, tally, view, working

# ----------------------------------------------------------------------------------------------------- deaths, faults


@pytest.mark.parametrize(
    ("state", "clean", "lost"),
    [
        ("ready", False, True),
        ("starting", False, True),
        ("draining", False, True),
        ("draining", True, False),
        ("finishing", True, False),
        ("killed", False, False),
        ("killed", True, False),
        # Not asked to go, it went: a library called ``exit``. Without this the batch would be given out again for ever.
        ("ready", True, True),
        ("starting", True, True),
    ],
)
def test_which_end_of_a_worker_is_a_death(state: Any, clean: bool, lost: bool) -> None:
    """What we ended ourselves is released, everything else is lost."""
    v, worker = working(2)
    worker.state = state
    worker.window[1].state = "begun"
    back = next(c for c in decide(v, w.WorkerGone(1, clean, "", "x"), 0.0) if isinstance(c, w.GiveBack))
    assert (back.lost, back.began) == (lost, frozenset([1]))
    assert v.jobs[1].deaths_in_row == lost


def test_workers_that_only_die_make_the_job_wait() -> None:
    """Five in a row, then a pause that doubles, and by itself another try."""
    v = view(job(tally=tally(pending=100)))
    now = 0.0
    for death in range(1, DEATHS_TOLERATED + 1):
        decide(v, w.Tick(), now)
        (worker,) = v.workers
        commands = decide(v, w.WorkerGone(worker, False, "", "SIGKILL"), now)
        assert v.jobs[1].status == ("waiting" if death == DEATHS_TOLERATED else "running")
    assert "SIGKILL" in next(c.reason for c in commands if isinstance(c, w.SetStatus))
    assert next_wake(v, now) == pytest.approx(30.0, abs=0.01)
    assert kinds(decide(v, w.Tick(), 30.0)) == ["SetStatus", "Spawn"]
    (worker,) = v.workers
    decide(v, w.WorkerGone(worker, False, "", "SIGKILL"), 30.0)
    assert next_wake(v, 30.0) == pytest.approx(60.0, abs=0.01)


@pytest.mark.parametrize(("kind", "status"), [("misconfigured", "failed"), ("unavailable", "waiting")])
def test_a_worker_that_says_what_it_lacks_accuses_no_item(kind: str, status: str) -> None:
    """Its items go back as they were, and it is no death: an endpoint may be away for a week."""
    v, worker = working(2)
    worker.window[1].state = "begun"
    back = next(c for c in decide(v, w.WorkerGone(1, False, kind, "it is away"), 0.0) if isinstance(c, w.GiveBack))
    assert not back.lost
    assert (v.jobs[1].deaths_in_row, v.jobs[1].status, v.jobs[1].reason) == (0, status, "it is away")


def test_a_quarantine_is_progress() -> None:
    """A folder with many poisoned files is worked off: that each costs two workers does not make the job wait."""
    v = view(job(tally=tally(suspect=9), deaths_in_row=4, waits=2))
    decide(v, w.Tallied(1, tally(suspect=8, failed=1)), 0.0)
    assert (v.jobs[1].deaths_in_row, v.jobs[1].waits) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "status"), [("misconfigured", "failed"), ("unavailable", "waiting"), ("crash", "waiting")]
)
def test_a_probe_that_fails(kind: str, status: str) -> None:
    """Only a person helps against ``misconfigured``; everything else is tried again."""
    v = view(job(resolved=False, probe=Probing(0.0)))
    decide(v, w.ProbeFailed(1, kind, "because"), 0.0)
    assert (v.jobs[1].status, v.jobs[1].reason) == (status, "because")


@pytest.mark.parametrize(
    "event", [w.ProbeFailed(1, "crash", "killed"), w.DiskShort(1, "full"), w.WorkerGone(1, False, "misconfigured", "x")]
)
def test_a_shutdown_changes_no_status(event: w.Event) -> None:
    """What ends because the daemon ends says nothing of the job: it goes on after the next start."""
    v, _ = working(0)
    v.closing = True
    assert not any(isinstance(command, w.SetStatus) for command in decide(v, event, 0.0))
    assert v.jobs[1].status == "running"


def test_waits_grow_to_a_limit() -> None:
    """A fault that stays is looked at every ten minutes, not less often."""
    v = view(job(waits=20))
    decide(v, w.DiskShort(1, "full"), 0.0)
    assert v.jobs[1].retry_at == SLOWEST_RETRY_S


# ---------------------------------------------------------------------------------------------------- walks and sinks


def test_a_walk_that_was_ended_is_made_again_at_once() -> None:
    """A pause is no failure of the walk."""
    v = view(job(rescan=Rescan(), walk=Walking()))
    assert kinds(decide(v, w.MoveRequested(1, "pause", ""), 0.0)) == ["SetStatus", "EndWalk"]
    decide(v, w.MoveRequested(1, "resume", ""), 0.0)
    assert decide(v, w.WalkEnded(1, False, "", tally()), 0.0) == [w.StartWalk(1)]


def test_a_start_during_a_walk_makes_another() -> None:
    """The first goes to its end; what was asked meanwhile is looked for by the second."""
    v = view(job(rescan=Rescan(), walk=Walking()))
    decide(v, w.JobKnown(job(rescan=Rescan())), 0.0)
    assert decide(v, w.WalkEnded(1, True, "", tally(), True), 0.0) == [w.StartWalk(1)]
    assert decide(v, w.WalkEnded(1, True, "", tally()), 0.0) == [w.SetStatus(1, "completed", "", "")]


def test_a_source_that_is_away_is_waited_for() -> None:
    """What is known is worked off first; then the job waits in words, and looks again."""
    v = view(job(rescan=Rescan(), walk=Walking()))
    (status,) = decide(v, w.WalkEnded(1, False, "no such folder", tally()), 0.0)
    assert status == w.SetStatus(1, "waiting", "source offline: no such folder", "")
    assert kinds(decide(v, w.Tick(), 30.0)) == ["SetStatus", "StartWalk"]


def test_a_job_without_items_is_completed() -> None:
    """An empty folder is no error."""
    v = view(job(rescan=Rescan(), walk=Walking(), sinks={"a": SinkView("a", 0, ON)}))
    assert decide(v, w.WalkEnded(1, True, "", tally()), 0.0) == [w.SetStatus(1, "completed", "", "")]


def test_a_job_waits_for_its_sinks_at_the_end_alone() -> None:
    """Everything computed, one sink behind: it waits in words; delivered, it is completed without a turn."""
    v = view(job(sinks={"a": SinkView("a", 2, SinkOn(5, 0.0))}, tally=tally(done=5, feed_seq=5)))
    (status,) = decide(v, w.Tick(), 0.0)
    assert status == w.SetStatus(1, "waiting", "everything is computed; delivering to a", "")
    assert decide(v, w.SinkDelivered(1, "a", 5), 1.0) == [w.SetStatus(1, "completed", "", "")]


def test_a_retry_wakes_a_job_that_waits_for_a_sink() -> None:
    """There is something to compute again: the sink may stay away."""
    v = view(job(1, "waiting", sinks={"a": SinkView("a", 2, SinkOn(5, 0.0))}, tally=tally(failed=1, feed_seq=5)))
    commands = decide(v, w.Tallied(1, tally(pending=1, feed_seq=5)), 0.0)
    assert kinds(commands) == ["SetStatus", "Spawn"]


@pytest.mark.parametrize("changes", [{"rescan": Rescan()}, {"tally": tally(pending=1)}])
def test_a_completed_job_that_was_asked_for_again_goes_on(changes: dict[str, Any]) -> None:
    """Also when the daemon ended between the storing of the request and its telling."""
    commands = decide(view(), w.JobKnown(job(1, "completed", **changes)), 0.0)
    assert [c.status for c in commands if isinstance(c, w.SetStatus)] == ["queued", "running"]


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


# --------------------------------------------------------------------------------------- processes that hang, not die


def test_a_walker_that_does_not_end_is_ended() -> None:
    """A source that hangs holds it: a pause must not wait for ever. Asked, then ended, once each."""
    v, seconds = view(job(walk=Walking(), rescan=Rescan())), WALK_END_S
    assert w.EndWalk(1) in decide(v, w.MoveRequested(1, "pause", ""), 0.0)
    assert next_wake(v, seconds - 1) == pytest.approx(1.0, abs=0.01)
    assert decide(v, w.Tick(), seconds) == []
    assert decide(v, w.Tick(), seconds + 0.01) == [w.EndWalk(1, at_once=True)]
    assert decide(v, w.Tick(), seconds + 100) == []


def test_a_source_of_which_nothing_is_heard_is_asked() -> None:
    """A dead share answers nothing: its readers hang, and only the silence tells. Who computes for long goes on."""
    v, worker = working(2)
    decide(v, w.ItemBegan(worker.id, 1), 5.0)
    assert next_wake(v, 5.0 + QUIET_S - 1) == pytest.approx(1.0, abs=0.01)
    assert w.AskSources(1) not in decide(v, w.Tick(), 5.0 + QUIET_S - 1)
    assert w.AskSources(1) in decide(v, w.Tick(), 5.0 + QUIET_S)
    assert w.AskSources(1) not in decide(v, w.Tick(), 5.0 + 2 * QUIET_S - 1)
    assert w.AskSources(1) in decide(v, w.Tick(), 5.0 + 2 * QUIET_S)
    commands = decide(v, w.SourceLost(1, "source offline: no answer"), 6.0 + 2 * QUIET_S)
    assert w.SetStatus(1, "waiting", "source offline: no answer", "") in commands
    assert w.Send(worker.id, Drain()) in commands


def test_where_nobody_reads_no_source_is_asked() -> None:
    """A worker that loads for long, and a walk that has just begun, are no silence."""
    v = view(job(tally=tally(pending=9)))
    assert kinds(decide(v, w.Tick(), 0.0)) == ["Spawn"]
    assert w.AskSources(1) not in decide(v, w.Tick(), 3 * QUIET_S)
    v = view(job(rescan=Rescan()))
    assert kinds(decide(v, w.Tick(), 9.0)) == ["StartWalk"]
    assert w.AskSources(1) not in decide(v, w.Tick(), 9.0 + QUIET_S - 1)
    assert w.AskSources(1) in decide(v, w.Tick(), 9.0 + QUIET_S)


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
    """It hangs in its libraries: the job waits in words, the worker goes, and it is tried again."""
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


def test_a_job_that_is_removed_does_not_compute() -> None:
    """Whatever it was asked beside the removal: its workers end, and nothing is begun for it."""
    v, _ = working(3)
    assert decide(v, w.JobRemoving(1), 0.0) == [w.Send(1, Drain())]
    assert kinds(decide(v, w.WorkerGone(1, True, "", ""), 1.0)) == ["GiveBack"]
