"""What an event changes, as tables: a view, an event, and what follows."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, get_args

import pytest

from ingestd.policy import messages as w
from ingestd.policy.decide import DEATHS_TOLERATED
from ingestd.policy.state import Rescan, Walking
from ingestd.records import KnownContent
from tests.policy.views import SHA, STAT, decide, job, kinds, next_wake, outcome, tally, view, working

# ---------------------------------------------------------------------------------------------------- a known job again


def test_of_two_running_jobs_at_a_start_one_yields() -> None:
    """Jobs are told one by one at a start: an older one that was queued may have got the turn by then."""
    v = view()
    decide(v, w.JobKnown(job(1, "queued", resolved=False)), 0.0)
    assert w.SetStatus(2, "queued", "", "") in decide(v, w.JobKnown(job(2, "running")), 0.0)


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


# --------------------------------------------------------------------------------------------------------------- deaths


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


# ---------------------------------------------------------------------------------------------------------------- walks


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
    """What is known is worked off first; then the job waits, says why, and looks again."""
    v = view(job(rescan=Rescan(), walk=Walking()))
    (status,) = decide(v, w.WalkEnded(1, False, "no such folder", tally()), 0.0)
    assert status == w.SetStatus(1, "waiting", "source offline: no such folder", "")
    assert kinds(decide(v, w.Tick(), 30.0)) == ["SetStatus", "StartWalk"]
