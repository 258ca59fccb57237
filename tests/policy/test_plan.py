"""What is missing, as tables: a turn, a worker, a commit, a question. No clock, no process, no ledger."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd.policy import messages as w
from ingestd.policy.deadlines import DRAIN_S
from ingestd.policy.plan import GROUP_MAX, GROUP_S, QUIET_S
from ingestd.policy.state import WINDOW, JobView, Probing, Rescan, SinkView, Walking
from ingestd.protocol.work import Drain, Finish, Work
from ingestd.records import Claimed
from tests.policy.views import ON, STAT, decide, job, kinds, next_wake, outcome, tally, view, working

# ------------------------------------------------------------------------------------------------------------- the turn


@pytest.mark.parametrize(
    ("jobs", "turned"),
    [
        ([job(1, "queued", resolved=False), job(2, "queued", resolved=False)], 1),
        ([job(1, "queued", resolved=False), job(2, "queued", resolved=False, priority=1)], 2),
        ([job(1, "running", walk=Walking()), job(2, "queued")], None),
        ([job(1, "paused"), job(2, "queued")], 2),
        # A job that waits for its sinks has nothing to compute: it does not stand in the way.
        ([job(1, "waiting", sinks={"a": SinkView("a", 0)}, tally=tally(feed_seq=3)), job(2, "queued")], 2),
        ([job(1, "waiting", retry_at=50.0, rescan=Rescan()), job(2, "queued")], 2),
        ([job(1, "waiting", retry_at=10.0, rescan=Rescan()), job(2, "queued")], 1),
        # After a restart nobody knows any more when it was to be tried again: at once.
        ([job(1, "waiting", tally=tally(pending=1))], 1),
        ([job(1, "waiting", rescan=Rescan())], 1),
        ([job(1, "waiting", resolved=False)], 1),
        ([job(1, "queued", removing=True)], None),
        ([job(1, "stopped"), job(2, "failed"), job(3, "completed")], None),
    ],
)
def test_one_job_computes_at_a_time(jobs: list[JobView], turned: int | None) -> None:
    """By priority, then age; a job that has to wait gives way."""
    v = view(*jobs)
    commands = decide(v, w.Tick(), 10.0)
    assert [c.job for c in commands if isinstance(c, w.SetStatus) and c.status == "running"] == (
        [turned] if turned else []
    )


def test_the_next_job_begins_when_one_ends() -> None:
    """In the same decision: nobody waits for the next event or the next minute."""
    v = view(job(1), job(2, "queued", resolved=False))
    assert decide(v, w.Tick(), 0.0) == [
        w.SetStatus(1, "completed", "", ""), w.StartProbe(2), w.SetStatus(2, "running", "", "")
    ]  # fmt: skip


def test_the_models_of_a_queued_job_are_looked_for_before_its_turn() -> None:
    """One probe at a time beside the job that computes; a mistake fails the job at once, a trouble makes it wait, and
    a pause ends the probe."""
    v = view(job(1, tally=tally(pending=5)), job(2, "queued", resolved=False), job(3, "queued", resolved=False))
    assert kinds(decide(v, w.Tick(), 0.0)) == ["Spawn", "StartProbe"]
    assert isinstance(v.jobs[2].probe, Probing)
    assert decide(v, w.Tick(), 1.0) == []
    assert decide(v, w.ProbeFailed(2, "misconfigured", "no such model"), 1.0) == [
        w.SetStatus(2, "failed", "no such model", ""), w.StartProbe(3)
    ]  # fmt: skip
    assert decide(v, w.MoveRequested(3, "pause", "me"), 2.0) == [w.SetStatus(3, "paused", "", "me"), w.EndProbe(3)]
    decide(v, w.ProbeFailed(3, "ended", ""), 2.0)
    assert decide(v, w.MoveRequested(3, "resume", "me"), 3.0) == [w.SetStatus(3, "queued", "", "me"), w.StartProbe(3)]
    decide(v, w.ProbeFailed(3, "unavailable", "no hub"), 4.0)
    assert (v.jobs[3].status, v.jobs[3].reason) == ("waiting", "no hub")
    assert v.jobs[1].status == "running"


def test_a_job_waits_for_the_workers_of_the_one_before() -> None:
    """Paused is not over: two jobs never compute beside each other."""
    v, worker = working(3)
    v.jobs[2] = job(2, "queued", tally=tally(pending=5))
    assert decide(v, w.MoveRequested(1, "pause", "me"), 0.0) == [w.SetStatus(1, "paused", "", "me"), w.Send(1, Drain())]
    assert decide(v, w.Tick(), 1.0) == []
    commands = decide(v, w.WorkerGone(worker.id, True, "", ""), 2.0)
    assert kinds(commands) == ["GiveBack", "SetStatus", "Spawn"]


# ---------------------------------------------------------------------------------------------------- beginning and end


def test_a_job_without_items_is_completed() -> None:
    """An empty folder is no error."""
    v = view(job(rescan=Rescan(), walk=Walking(), sinks={"a": SinkView("a", 0, ON)}))
    assert decide(v, w.WalkEnded(1, True, "", tally()), 0.0) == [w.SetStatus(1, "completed", "", "")]


@pytest.mark.parametrize("changes", [{"rescan": Rescan()}, {"tally": tally(pending=1)}])
def test_a_completed_job_that_was_asked_for_again_goes_on(changes: dict[str, Any]) -> None:
    """Also when the daemon ended between the storing of the request and its telling."""
    commands = decide(view(), w.JobKnown(job(1, "completed", **changes)), 0.0)
    assert [c.status for c in commands if isinstance(c, w.SetStatus)] == ["queued", "running"]


def test_a_job_that_is_removed_does_not_compute() -> None:
    """Whatever it was asked beside the removal: its workers end, and nothing is begun for it."""
    v, _ = working(3)
    assert decide(v, w.JobRemoving(1), 0.0) == [w.Send(1, Drain())]
    assert kinds(decide(v, w.WorkerGone(1, True, "", ""), 1.0)) == ["GiveBack"]


# ------------------------------------------------------------------------------------------------------ windows, groups


def test_a_window_is_filled_and_never_over_full() -> None:
    """The claim asks for what the window has room for, within the batch."""
    v, worker = working(0)
    (store,) = decide(v, w.Tick(), 0.0)
    assert store == w.StoreOutcomes(1, (), (w.Claim(1, WINDOW, False),))
    assert decide(v, w.Tick(), 0.0) == [], "not asked twice"
    claims = [Claimed(Work(item, b"/x", STAT, 1), False) for item in range(WINDOW)]
    sent = decide(v, w.Stored(1, {}, {1: claims}, tally(pending=68, running=32)), 0.0)
    assert sent == [w.Send(1, claimed.work) for claimed in claims]
    worker.given = 99
    for item in range(GROUP_MAX):
        commands = decide(v, w.ItemOutcome(1, outcome(item)), 1.0)
    assert commands == [
        w.StoreOutcomes(1, tuple((1, outcome(item)) for item in range(GROUP_MAX)), (w.Claim(1, 1, False),))
    ]


def test_an_outcome_waits_for_company_but_not_for_long() -> None:
    """A group is committed when it is full or a quarter of a second old; ``next_wake`` knows when."""
    v, _ = working(20)
    assert decide(v, w.ItemOutcome(1, outcome(1)), 5.0) == []
    assert next_wake(v, 5.0) == pytest.approx(GROUP_S, abs=0.01)
    assert kinds(decide(v, w.Tick(), 5.0 + GROUP_S)) == ["StoreOutcomes"]


def test_claims_of_a_pause_are_not_worked_on() -> None:
    """A claim that was under way when the pause came is taken into the window and given back with it, never sent."""
    v, worker = working(0)
    decide(v, w.Tick(), 0.0)
    assert worker.claiming
    decide(v, w.MoveRequested(1, "pause", ""), 0.0)
    claims = [Claimed(Work(5, b"/x", STAT, 1), False)]
    assert decide(v, w.Stored(1, {}, {1: claims}, tally(running=1)), 0.0) == []
    (back,) = decide(v, w.WorkerGone(1, True, "", ""), 0.0)
    assert back == w.GiveBack(1, 1, False, frozenset(), "crash", "", 1)


def test_a_claim_for_a_worker_that_died_is_taken_back() -> None:
    """``GiveBack`` follows the claim in the ledger, so nothing is stranded; the next worker claims for itself."""
    v, _ = working(0)
    decide(v, w.Tick(), 0.0)
    commands = decide(v, w.WorkerGone(1, False, "", "SIGKILL"), 0.0)
    assert kinds(commands) == ["GiveBack", "Spawn"]
    claims = [Claimed(Work(5, b"/x", STAT, 1), False)]
    assert decide(v, w.Stored(1, {}, {1: claims}, tally(running=1, pending=99)), 0.0) == []


def test_a_batch_ends_after_its_items() -> None:
    """``Finish`` when the window is empty and the batch had its number; a worker that does not go is ended."""
    v, worker = working(0)
    worker.given = 100
    assert decide(v, w.Tick(), 0.0) == [w.Send(1, Finish())]
    assert next_wake(v, 59.5) == pytest.approx(DRAIN_S - 59.5, abs=0.01)
    assert kinds(decide(v, w.Tick(), DRAIN_S + 0.01)) == ["Kill"]


def test_a_suspect_is_tried_alone() -> None:
    """One worker, one item, beside nothing of its own; the others go on."""
    v = view(job(tally=tally(pending=80, suspect=3), workers=2))
    commands = decide(v, w.Tick(), 0.0)
    assert kinds(commands) == ["Spawn", "Spawn"]
    assert [worker.alone for worker in v.workers.values()] == [True, False]
    decide(v, w.WorkerReady(1, 8), 0.0)
    v.workers[2].state = "draining"
    assert v.workers[1].size == 1
    assert v.workers[1].claiming


def test_small_batches_fill_the_workers() -> None:
    """A worker takes no more than its batch: with few items left, the others are still of use."""
    v = view(job(tally=tally(pending=20), workers=8, batch_size=1))
    assert kinds(decide(v, w.Tick(), 0.0)) == ["Spawn"] * 8
    v = view(job(tally=tally(pending=20), workers=8))
    assert kinds(decide(v, w.Tick(), 0.0)) == ["Spawn"]


# -------------------------------------------------------------------------------------------------------------- silence


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
