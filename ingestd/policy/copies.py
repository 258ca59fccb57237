"""Copies of one content in flight: the first with a hash is computed, the others wait for its commit. Pure."""

from __future__ import annotations

from ingestd.policy import messages as w
from ingestd.policy.state import Flight, View
from ingestd.protocol.work import Outcome, Verdict


def hashed(view: View, event: w.ItemHashed) -> list[w.Command]:
    """A worker has read an item: ask the ledger for its content, or let it wait for the copy that was first."""
    flight = view.flight(event.worker, event.item)
    if flight is None or flight.state not in ("given", "begun"):
        # The item vanished, came back and was given again meanwhile. Unanswered, the worker would wait for ever.
        return [w.Send(event.worker, Verdict(event.item, "drop"))] if event.worker in view.workers else []
    flight.sha256, flight.stat = event.sha256, event.stat
    return [_check(view, event.worker, flight, event.sha256)]


def _check(view: View, worker: int, flight: Flight, sha256: bytes) -> w.Command:
    """The first flight with a hash owns it until its commit; others hold, so that copies in one window run once."""
    owner = view.owners.setdefault(sha256, (worker, flight.item))
    if owner == (worker, flight.item):
        flight.state = "checking"
        return w.Lookup(worker, flight.item, sha256)
    flight.state = "held"
    view.holders.setdefault(sha256, []).append((worker, flight.item))
    return w.Send(worker, Verdict(flight.item, "hold"))


def looked_up(view: View, event: w.ContentKnown, now: float) -> list[w.Command]:
    """The ledger has answered: the item is computed, or it and its copies take what is known."""
    flight = view.flight(event.worker, event.item)
    if flight is None or flight.state != "checking" or flight.sha256 is None:
        return []
    answered = event.known.done | event.known.failed
    left = flight.todo & ~answered
    if left:
        flight.state = "going"
        return [w.Send(event.worker, Verdict(event.item, "go", left, event.known.bodies))]
    commands = [_reuse(view, event.worker, flight, now)]
    waiting = view.holders.pop(flight.sha256, [])
    for worker, item in waiting:
        held = _held(view, worker, item, flight.sha256)
        if held is None:
            continue
        if held.todo & ~answered:
            view.holders.setdefault(flight.sha256, []).append((worker, item))
        else:
            commands.append(_reuse(view, worker, held, now))
    return commands


def _held(view: View, worker: int, item: int, sha256: bytes) -> Flight | None:
    """The flight that waits for this hash; None when it is gone, or was given anew under the same item."""
    flight = view.flight(worker, item)
    return flight if flight is not None and flight.state == "held" and flight.sha256 == sha256 else None


def _reuse(view: View, worker: int, flight: Flight, now: float) -> w.Command:
    """Everything that the item needs is known for its content: commit that, and let the worker forget it."""
    outcome = Outcome(flight.item, flight.stat, flight.sha256, None, None, None, [], [], {})
    settle(view, worker, flight, outcome, now)
    return w.Send(worker, Verdict(flight.item, "drop"))


def settle(view: View, worker: int, flight: Flight, outcome: Outcome, now: float) -> None:
    """An item's outcome is known: it waits for its commit. Later ones of the same flight change nothing."""
    if flight.state == "settled":
        return
    flight.state = "settled"
    if not view.buffer:
        view.buffered_since = now
    view.buffer.append((worker, outcome))


def disown(view: View, worker: int, flight: Flight) -> list[w.Command]:
    """A flight that owned its hash is over: the hash is free, and the first that waits for it asks the ledger anew."""
    sha256 = flight.sha256
    if sha256 is None or view.owners.get(sha256) != (worker, flight.item):
        return []
    del view.owners[sha256]
    commands: list[w.Command] = []
    waiting = view.holders.pop(sha256, [])
    for holder, item in waiting:
        if held := _held(view, holder, item, sha256):
            if sha256 in view.owners:
                view.holders.setdefault(sha256, []).append((holder, item))
            else:
                commands.append(_check(view, holder, held, sha256))
    return commands


def give_up(view: View, worker: int | None) -> list[w.Command]:
    """What a worker that is gone had in its window has been given back."""
    commands: list[w.Command] = []
    if worker is not None:
        for flight in view.gone.pop(worker, []):
            commands += disown(view, worker, flight)
    return commands
