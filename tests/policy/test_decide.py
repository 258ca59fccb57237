"""Decisions as tables: a view, an event, and what follows. No clock, no process, no ledger."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import get_args

import pytest

from ingestd.policy import messages as w
from ingestd.policy.deadlines import CLOSING_DRAIN_S, DRAIN_S
from ingestd.policy.plan import GROUP_MAX, GROUP_S
from ingestd.policy.state import WINDOW, Flight, JobView, Probing, Rescan, SinkView, Walking, WorkerView
from ingestd.protocol.work import Drain, Finish, Verdict, Work
from ingestd.records import Claimed, Committed, KnownContent
from tests.policy.views import ON, SHA, STAT, decide, job, kinds, next_wake, outcome, tally, view, working

# ----------------------------------------------------------------------------------------------------------- the turn


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


def test_of_two_running_jobs_at_a_start_one_yields() -> None:
    """Jobs are told one by one at a start: an older one that was queued may have got the turn by then."""
    v = view()
    decide(v, w.JobKnown(job(1, "queued", resolved=False)), 0.0)
    assert w.SetStatus(2, "queued", "", "") in decide(v, w.JobKnown(job(2, "running")), 0.0)


# -------------------------------------------------------------------------------------------------- a known job again


def test_settings_are_replaced_and_what_is_under_way_is_kept() -> None:
    """What was read from the ledger is older than what the view knows: its status, counts and deaths stay."""
    old = job(1, "paused", resolved=True, deaths_in_row=3, tally=tally(done=7))
    v = view(old)
    decide(v, w.JobKnown(job(1, "running", resolved=False, batch_size=7, workers=3, tally=tally())), 0.0)
    kept = v.jobs[1]
    assert (kept.status, kept.resolved, kept.deaths_in_row, kept.tally.done) == ("paused", True, 3, 7)
    assert (kept.batch_size, kept.workers) == (7, 3)


def test_a_stopped_job_is_not_revived_by_a_late_reading() -> None:
    """``stopped`` is final, whatever a request read before that was stored."""
    v = view(job(1, "stopped"))
    assert decide(v, w.JobKnown(job(1, "queued", rescan=Rescan())), 0.0) == []
    assert v.jobs[1].status == "stopped"


def test_a_sink_that_was_taken_away_ends() -> None:
    """Its process is told to end; it delays nothing and is forgotten with its process; asked again it starts new."""
    v = view(job(1, "completed", sinks={"a": SinkView("a", 2, ON), "b": SinkView("b", 2)}, tally=tally(feed_seq=5)))
    assert decide(v, w.JobKnown(job(1, "completed", sinks={})), 0.0) == [w.EndSink(1, "a")]
    assert v.jobs[1].lagging == []
    assert list(v.jobs[1].sinks) == ["a"]
    assert decide(v, w.SinkGone(1, "a", True, "", ""), 1.0) == []
    assert v.jobs[1].sinks == {}
    assert decide(v, w.JobKnown(job(1, "completed", sinks={"a": SinkView("a", 0)})), 2.0) == [w.StartSink(1, "a")]


GONE: list[w.Event] = [
    w.JobRemoving(9), w.JobForgotten(9), w.MoveRequested(9, "pause", ""), w.Resolved(9), w.Fetched(9, "clip", 1, 2),
    w.ProbeFailed(9, "crash", ""), w.DiskShort(9, ""), w.SourceLost(9, ""), w.Tallied(9, tally()),
    w.WalkEnded(9, True, "", tally()), w.WorkerReady(9, 1), w.WorkerRefused(9), w.ItemBegan(9, 1),
    w.ItemHashed(9, 1, SHA, STAT), w.ContentKnown(9, 1, KnownContent(0, 0)), w.ItemOutcome(9, outcome(1)),
    w.Stored(9, {9: []}, {9: []}, tally()), w.WorkerGone(9, False, "", ""), w.SinkDelivered(9, "a", 1),
    w.SinkTrouble(9, "a", ""), w.SinkGone(9, "a", True, "", ""), w.SinkWanted(9, "a"),
]  # fmt: skip


@pytest.mark.parametrize("event", GONE, ids=lambda event: type(event).__name__)
def test_an_event_of_what_is_gone_means_nothing(event: w.Event) -> None:
    """Answers may come when their job, worker or sink is not known any more."""
    assert decide(view(), event, 0.0) == []


def test_every_event_has_a_rule() -> None:
    """Each may come when what it is about is gone; the others are about nothing that could be."""
    assert {type(event) for event in GONE} == set(get_args(w.Event)) - {w.Tick, w.JobKnown, w.Closing}


def test_every_message_is_an_event_or_a_command() -> None:
    """One that stands in neither list would be known to nobody."""
    written = {one for one in vars(w).values() if isinstance(one, type) and is_dataclass(one)}
    written = {one for one in written if one.__module__ == w.__name__}
    assert written == set(get_args(w.Event)) | set(get_args(w.Command)) | {w.Claim}


def test_an_event_without_a_rule_is_an_error_that_names_it() -> None:
    """It would else be dropped without a word, and whoever waits for what follows would wait for ever."""

    class Surprise:
        def __repr__(self) -> str:
            return "Surprise(job=1)"

    with pytest.raises(TypeError, match=r"nobody handles Surprise\(job=1\)"):
        decide(view(job()), Surprise(), 0.0)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------- hashes and copies


def test_copies_in_flight_run_once() -> None:
    """The first with a hash asks the ledger and runs; the others hold; the commit answers them, one after another."""
    v, worker = working(3)
    v.jobs[1].tally = tally(running=3)
    assert decide(v, w.ItemHashed(1, 1, SHA, STAT), 0.0) == [w.Lookup(1, 1, SHA)]
    for item in (2, 3):
        assert decide(v, w.ItemHashed(1, item, SHA, STAT), 0.0) == [w.Send(1, Verdict(item, "hold"))]
    assert decide(v, w.ContentKnown(1, 1, KnownContent(0, 0)), 0.0) == [w.Send(1, Verdict(1, "go", 1))]
    decide(v, w.ItemOutcome(1, outcome(1)), 0.0)
    commands = decide(v, w.Stored(1, {1: [Committed(1, "done")]}, {}, tally(pending=5)), 0.0)
    assert w.Lookup(1, 2, SHA) in commands
    commands = decide(v, w.ContentKnown(1, 2, KnownContent(1, 0)), 0.0)
    assert commands[:2] == [w.Send(1, Verdict(2, "drop")), w.Send(1, Verdict(3, "drop"))]
    assert all(flight.state == "settled" for flight in worker.window.values())


def test_a_copy_of_a_dead_workers_content_waits_for_its_last_commit() -> None:
    """Asked earlier, the ledger would know nothing of it, and it would be computed a second time."""
    v, _ = working(1, workers=2)
    other = v.workers[2] = WorkerView(2, 1, 1, alone=False, state="ready", window={9: Flight(9, 1)}, given=1)
    v.next_worker = 3
    decide(v, w.ItemHashed(1, 1, SHA, STAT), 0.0)
    decide(v, w.ContentKnown(1, 1, KnownContent(0, 0)), 0.0)
    decide(v, w.ItemHashed(2, 9, SHA, STAT), 0.0)
    assert other.window[9].state == "held"
    v.workers[1].window[1].state = "settled"
    v.buffer.append((1, outcome(1)))
    commands = decide(v, w.WorkerGone(1, False, "", "SIGSEGV"), 0.0)
    assert kinds(commands)[:2] == ["StoreOutcomes", "GiveBack"]
    assert not any(isinstance(command, w.Lookup) for command in commands)
    assert decide(v, w.Tallied(1, v.jobs[1].tally, 1), 0.0)[0] == w.Lookup(2, 9, SHA)


def test_a_hash_that_nobody_waits_for_is_answered() -> None:
    """An item that vanished and came back was given anew: left unanswered, its worker would never end."""
    v, _ = working(1)
    assert decide(v, w.ItemHashed(1, 77, SHA, STAT), 0.0)[0] == w.Send(1, Verdict(77, "drop"))


# ---------------------------------------------------------------------------------------------------- windows, groups


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


@pytest.mark.parametrize(("closing", "seconds"), [(False, DRAIN_S), (True, CLOSING_DRAIN_S)])
def test_a_worker_that_does_not_drain_is_ended(closing: bool, seconds: float) -> None:
    """After a pause in a minute, at a shutdown sooner; once."""
    v, _ = working(3)
    v.closing = closing
    decide(v, w.MoveRequested(1, "pause", ""), 0.0)
    assert decide(v, w.Tick(), seconds) == []
    assert kinds(decide(v, w.Tick(), seconds + 0.01)) == ["Kill"]
    assert decide(v, w.Tick(), seconds + 5) == []


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
