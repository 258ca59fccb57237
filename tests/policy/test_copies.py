"""Copies of one content in flight, as tables: one is computed, the others wait for its commit."""

from __future__ import annotations

from ingestd.policy import messages as w
from ingestd.policy.state import Flight, WorkerView
from ingestd.protocol.work import Verdict
from ingestd.records import Committed, KnownContent
from tests.policy.views import SHA, STAT, decide, kinds, outcome, tally, working


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
