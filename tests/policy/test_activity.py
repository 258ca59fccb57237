"""When the machine has to stay awake, as tables: only for what makes progress, and not a moment longer."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ingestd.policy import messages as w
from ingestd.policy.activity import AFTER_S, STALL_S, busy
from ingestd.policy.state import (
    ModelFetch,
    ProbeStopping,
    Probing,
    Rescan,
    SinkOff,
    SinkView,
    View,
    Walking,
    WalkStopping,
    WorkerView,
)
from ingestd.protocol.work import Drain
from ingestd.records import Committed
from tests.policy.views import (
    ENDING,
    ON,
    STARTING,
    decide_all as decide,
    job,
    kinds,
    next_wake,
    outcome,
    tally,
    view,
    working,
)


def sink(**changes: Any) -> SinkView:
    """A sink that has the half of ``lagging``'s feed."""
    found = SinkView("a", 5, ON)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def lagging(status: str = "waiting", **changes: Any) -> View:
    return view(job(status=status, sinks={"a": sink(**changes)}, tally=tally(feed_seq=10)))


def with_worker(status: str, state: Any) -> View:
    v = view(job(status=status))
    v.workers[1] = WorkerView(1, 1, 0, alone=False, state=state)
    return v


@pytest.mark.parametrize(
    ("v", "works"),
    [
        (view(), False),
        (view(job(walk=Walking())), True),
        (view(job(status="paused", walk=WalkStopping(0.0))), False),  # told to end: perhaps on a dead mount
        (view(job(probe=Probing(0.0))), True),
        (
            view(job(status="queued", probe=Probing(0.0, ModelFetch("clip", 1, 9)))),
            True,
        ),  # a model comes before its turn
        (view(job(status="paused", probe=ProbeStopping(0.0))), False),
        (with_worker("running", "starting"), True),
        (with_worker("running", "ready"), True),
        (with_worker("paused", "draining"), True),  # what is in the model finishes
        (with_worker("paused", "finishing"), True),
        (with_worker("paused", "killed"), False),
        (view(job(tally=tally(pending=3), slots={0: 99.0})), True),  # a cooldown: asleep, the next batch would not come
        (view(job(tally=tally(running=3))), True),  # a dead worker's items are being taken back
        (view(job(rescan=Rescan(99.0))), False),  # the walker fails, again and again
        (view(job(status="waiting", reason="source offline", retry_at=99.0, rescan=Rescan())), False),
        (view(job(status="waiting", reason="degraded", retry_at=99.0, tally=tally(pending=3))), False),
        (view(job(status="waiting", reason="disk full", retry_at=99.0, tally=tally(pending=3))), False),
        (view(*(job(n, one) for n, one in enumerate(("paused", "completed", "failed", "stopped", "queued")))), False),
        (lagging(), True),
        (lagging(state=STARTING), True),
        (lagging("completed"), True),
        (lagging(message="the server is away"), False),
        (lagging(state=SinkOff(), message="it exited with code 1"), False),
        (lagging(state=ENDING), False),
        (lagging(dropped=True), False),
        (lagging(cursor=10), False),  # open for searches, with nothing to deliver
    ],
)
def test_what_is_work(v: View, works: bool) -> None:
    """Work is what a sleep would interrupt; a wait, whatever for, a pause and the end of it all are none."""
    assert busy(v) is works
    v.stuck = True
    assert not busy(v), "the ledger cannot be written, on a full disk: nothing goes on until somebody acts"


def test_awake_from_the_second_second_to_the_end_of_the_work() -> None:
    """Asked for once, when it has worked for a moment; let go in the very decision that ends the work."""
    v, worker = working(1)
    v.jobs[1].tally = tally(running=1)
    assert decide(v, w.Tick(), 100.0) == []
    assert next_wake(v, 100.0) == pytest.approx(AFTER_S, abs=0.01)
    assert decide(v, w.Tick(), 100.0 + AFTER_S) == [w.Awake(True)]
    assert decide(v, w.Tick(), 102.0) == []
    decide(v, w.ItemOutcome(worker.id, outcome(1)), 103.0)
    decide(v, w.Stored(1, {1: [Committed(1, "done")]}, {}, tally(done=1)), 104.0)
    commands = decide(v, w.WorkerGone(1, True, "", ""), 105.0)
    assert commands[-2:] == [w.SetStatus(1, "completed", "", ""), w.Awake(False)]


def test_work_that_is_over_at_once_asks_for_nothing() -> None:
    """A look whether a source is back, again and again, does not wake the machine's inhibitor each time."""
    v = view(job(walk=Walking()))
    decide(v, w.Tick(), 10.0)
    commands = decide(v, w.WalkEnded(1, False, "it is away", tally()), 10.5)
    assert "Awake" not in kinds(commands)
    v.jobs[1].status = "running"
    v.jobs[1].walk = Walking()
    assert decide(v, w.Tick(), 10.6) == []
    assert v.busy_since == 10.6


def test_a_pause_lets_go_when_the_model_is_through() -> None:
    """Not before: what is in the model is finished first, and a machine that fell asleep then would lose it."""
    v, worker = working(3)
    decide(v, w.Tick(), 0.0)
    decide(v, w.Tick(), AFTER_S)
    assert v.awake
    assert decide(v, w.MoveRequested(1, "pause", "me"), 5.0) == [
        w.SetStatus(1, "paused", "", "me"),
        w.Send(worker.id, Drain()),
    ]
    assert decide(v, w.WorkerGone(worker.id, True, "", ""), 6.0)[-1] == w.Awake(False)
    decide(v, w.MoveRequested(1, "resume", "me"), 7.0)
    assert decide(v, w.Tick(), 7.0 + AFTER_S) == [w.Awake(True)]


def test_between_two_jobs_it_stays_awake() -> None:
    """The next one begins in the same decision."""
    v = view(job(1, walk=Walking()), job(2, "queued", tally=tally(pending=5)))
    decide(v, w.Tick(), 0.0)
    decide(v, w.Tick(), AFTER_S)
    assert v.awake
    commands = decide(v, w.WalkEnded(1, True, "", tally()), 9.0)
    assert kinds(commands) == ["SetStatus", "SetStatus", "Spawn"]


def test_work_that_stands_still_does_not_keep_it_awake_for_ever() -> None:
    """An hour without a sign of progress, and it may sleep; the first sign, and it stays awake again."""
    v, worker = working(2)
    decide(v, w.Tick(), 0.0)
    decide(v, w.Tick(), AFTER_S)
    decide(v, w.ItemBegan(worker.id, 1), 50.0)
    assert decide(v, w.Tick(), 50.0 + STALL_S - 1) == [w.AskSources(1)]
    assert next_wake(v, 50.0 + STALL_S - 1) == pytest.approx(1.0, abs=0.01)
    (let_go,) = decide(v, w.Tick(), 50.0 + STALL_S)
    assert isinstance(let_go, w.Awake)
    assert (let_go.wanted, let_go.reason) == (False, "nothing has moved for 60 minutes")
    assert decide(v, w.Tick(), 60.0 + STALL_S) == []
    assert decide(v, w.ItemBegan(worker.id, 2), 70.0 + STALL_S) == [w.Awake(True)]


def test_a_long_cooldown_is_no_standstill() -> None:
    """It was asked for; a machine that fell asleep in it would not begin the next batch."""
    v = view(job(tally=tally(pending=9), slots={0: 3 * STALL_S}))
    decide(v, w.Tick(), 0.0)
    decide(v, w.Tick(), AFTER_S)
    assert v.awake
    assert kinds(decide(v, w.Tick(), 2 * STALL_S)) == []
    assert v.awake


@pytest.mark.parametrize(
    "event",
    [
        w.Tick(), w.MoveRequested(1, "resume", "me"), w.Tallied(1, tally(), gone=7), w.SinkTrouble(1, "a", "away"),
        w.Fetched(1, "clip", 5, 9), w.WalkEnded(9, False, "", tally()),
    ],
    ids=lambda event: type(event).__name__,
)  # fmt: skip
def test_what_is_no_progress(event: w.Event) -> None:
    """Time, persons, deaths, troubles, and a fetch that says the same number of bytes again."""
    v = view(job(probe=Probing(0.0, ModelFetch("clip", 5, 9))))
    v.moved = 3.0
    decide(v, event, 100.0)
    assert v.moved == 3.0


def test_a_fetch_that_goes_on_is_progress() -> None:
    """Models of many GB take hours to come, and a machine that sleeps meanwhile has none in the morning."""
    v = view(job(probe=Probing(0.0, ModelFetch("clip", 5, 9))))
    decide(v, w.Fetched(1, "clip", 6, 9), 100.0)
    assert v.moved == 100.0


def test_a_shutdown_finishes_awake_and_begins_nothing() -> None:
    """What is held is held until the workers are gone; nothing new is asked of a machine that may be shutting down."""
    v, worker = working(2)
    other = copy.deepcopy(v)
    decide(v, w.Tick(), 0.0)
    decide(v, w.Tick(), AFTER_S)
    assert "Awake" not in kinds(decide(v, w.Closing(), 5.0))
    assert decide(v, w.WorkerGone(worker.id, True, "", ""), 6.0)[-1] == w.Awake(False)
    decide(other, w.Closing(), 0.0)
    assert "Awake" not in kinds(decide(other, w.Tick(), 10.0))
