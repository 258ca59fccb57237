"""Who gives way when all slots are taken, and whose turn it is: rules over plain data."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st

from ingestd.control.transport.admission import (
    LASTING,
    QUICK,
    READERS_MAX,
    SLOW_MAX,
    gives_way,
    is_full,
    may_go,
    too_many,
)
from ingestd.control.transport.fair_queue import FairQueue
from ingestd.control.transport.peer import READ_VERBS, Rights
from ingestd.protocol.control import VERBS
from ingestd.protocol.rpc import MAX_CLIENTS


@dataclass
class Slot:
    number: int
    rights: Rights = Rights.ALL
    pending: bool = False
    verb: str | None = None
    owed: int = 0


IDLE, ASKING = Slot(2), Slot(3, pending=True, verb="start")
WAITING, DEAF = Slot(4, pending=True, verb="wait"), Slot(5, pending=True, owed=7)
READER, READING = Slot(6, Rights.READ), Slot(7, Rights.READ, pending=True, verb="subscribe")
NEW = Slot(1, pending=True)


@pytest.mark.parametrize(
    ("slots", "hung_up", "newcomer", "expected"),
    [
        ([], set(), Rights.ALL, None),
        ([ASKING, NEW], set(), Rights.ALL, None),  # what was begun, or not even looked at, is not cut off
        ([WAITING, IDLE], set(), Rights.ALL, 2),  # who has nothing under way before who waits
        ([WAITING, DEAF], set(), Rights.ALL, 4),  # of those alike the oldest
        ([DEAF, ASKING], set(), Rights.ALL, 5),  # a reply that nobody takes holds no slot
        ([IDLE, WAITING], {4}, Rights.ALL, 4),  # who has hung up before all others
        ([IDLE, ASKING], {3}, Rights.ALL, 2),  # but not in the middle of a change
        ([IDLE, READING], set(), Rights.ALL, 7),  # the owner takes a reader's before one of his own
        ([IDLE, WAITING], set(), Rights.READ, None),  # a reader takes none of the owner's
        ([IDLE, READER, READING], set(), Rights.READ, 6),
    ],
)
def test_who_gives_way(slots: list[Slot], hung_up: set[int], newcomer: Rights, expected: int | None) -> None:
    """The rule as a table; a comment per row says why."""
    assert gives_way(slots, hung_up, newcomer) == expected


any_seat = st.builds(
    Slot, st.integers(1, 9), st.sampled_from([Rights.ALL, Rights.READ]), st.booleans(),
    st.sampled_from([None, *sorted(VERBS)]), st.sampled_from([0, 7]),
)  # fmt: skip


@given(st.lists(any_seat, unique_by=lambda slot: slot.number), st.sets(st.integers(1, 9)), st.sampled_from(Rights))
def test_nothing_is_cut_off_halfway(slots: list[Slot], hung_up: set[int], newcomer: Rights) -> None:
    """Whoever gives way has nothing half done, and a reader never displaces the owner."""
    number = gives_way(slots, hung_up, newcomer)
    chosen = [slot for slot in slots if slot.number == number]
    assert all(may_go(slot) for slot in chosen)
    if newcomer is Rights.READ:
        assert all(slot.rights is Rights.READ for slot in chosen)
    if newcomer is Rights.ALL and any(may_go(slot) for slot in slots):
        assert chosen, "somebody could have gone"


def test_readers_leave_seats_for_the_owner() -> None:
    """However many readers come, some slots are never theirs."""
    readers = [Slot(n, Rights.READ) for n in range(READERS_MAX)]
    assert is_full(readers, Rights.READ)
    assert not is_full(readers, Rights.ALL)
    assert is_full([Slot(n) for n in range(MAX_CLIENTS)], Rights.ALL)


def test_slow_requests_leave_seats_for_quick_ones() -> None:
    """So many searches and starts, and no more: ``status`` is never refused, nor is who waits."""
    slow = [Slot(n, pending=True, verb="start") for n in range(SLOW_MAX)]
    assert too_many(slow, "search", Rights.ALL)
    assert not too_many(slow[1:], "search", Rights.ALL)
    assert not any(too_many(slow, verb, Rights.ALL) for verb in QUICK | LASTING)


def test_readers_leave_room_for_the_owners_slow_requests() -> None:
    """A reader that searches in a loop, on as many connections as it is given, keeps nobody from ``stop``."""
    slow: list[Slot] = []
    while len(slow) < READERS_MAX and not too_many(slow, "search", Rights.READ):
        slow.append(Slot(len(slow), Rights.READ, pending=True, verb="search"))
    assert slow
    assert not too_many(slow, "stop", Rights.ALL)
    slow += [Slot(n, pending=True, verb="start") for n in range(SLOW_MAX - len(slow))]
    assert too_many(slow, "search", Rights.READ)


def test_the_named_verbs_exist() -> None:
    """A verb that is renamed must not silently change its class; what lasts only looks on, so it can be ended."""
    assert set(VERBS) >= QUICK | LASTING
    assert not QUICK & LASTING
    assert LASTING <= READ_VERBS


@dataclass
class Ask:
    pid: int
    name: str
    until: float = 10.0


def queued(*asks: Ask) -> FairQueue[Ask]:
    queue: FairQueue[Ask] = FairQueue()
    for ask in asks:
        queue.add(ask)
    return queue


def test_processes_take_turns() -> None:
    """A thousand requests of one process keep nobody else waiting for more than one of them."""
    queue = queued(*(Ask(1, f"flood{n}") for n in range(1000)), Ask(2, "status"), Ask(2, "again"))
    order: list[str] = []

    def accept(ask: Ask) -> bool:
        order.append(ask.name)
        return True

    assert queue.take(accept, 5) == 5
    assert order == ["flood0", "status", "flood1", "again", "flood2"]
    assert len(queue) == 997


def test_one_that_cannot_be_let_in_keeps_nobody_waiting() -> None:
    """A reader for whom there is no slot stays where it is, first of its process; the others pass it."""
    queue = queued(Ask(1, "reader"), Ask(1, "reader too"), Ask(2, "owner"))
    assert queue.take(lambda ask: ask.name == "owner", 8) == 1
    assert [ask.name for ask in queue.clear()] == ["reader", "reader too"]
    assert len(queue) == 0


def test_who_waited_too_long_is_told() -> None:
    """By time, and, when there are too many, the oldest of the process that asks most."""
    queue = queued(Ask(1, "late", 1.0), *(Ask(2, f"flood{n}") for n in range(5)), Ask(3, "status"))
    assert [ask.name for ask in queue.overdue(2.0, 4)] == ["late", "flood0", "flood1"]
    assert len(queue) == 4
