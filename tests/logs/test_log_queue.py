"""A target that stands still blocks nobody: lines wait, then are dropped and counted, and the count is told."""

from __future__ import annotations

import threading
import time

import pytest

from ingestd.logs.log_queue import LogQueue
from tests.logs.logkit import Gate, line, wait_for


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_what_flows_comes_in_order_and_whole(gate: Gate) -> None:
    """Nothing is lost or changed in its order, and the end waits for the last line."""
    gate.open.set()
    queue = LogQueue(gate, 10_000, 1 << 20)
    for number in range(1000):
        queue.put(line(str(number)))
    assert queue.close(time.monotonic() + 20)
    assert gate.events() == [str(number) for number in range(1000)]
    assert (queue.dropped, gate.closed) == (0, True)


def test_a_gap_stands_where_the_lines_are_missing(gate: Gate) -> None:
    """With a full queue the newest are dropped; how many, is told between what was before and what comes after."""
    queue = LogQueue(gate, 10, 1 << 20)
    for number in range(25):
        queue.put(line(str(number)))
    assert queue.dropped == 15
    gate.open.set()
    wait_for(lambda: len(gate.taken) == 11)
    assert gate.events() == [*map(str, range(10)), "log lines dropped"]
    assert (gate.taken[-1]["lines"], gate.taken[-1]["target"], gate.taken[-1]["level"]) == (15, "gate", "warning")
    queue.put(line("after"))
    assert queue.close(time.monotonic() + 20)
    assert gate.events()[-1] == "after"
    assert queue.dropped == 15


def test_one_gap_while_a_slow_reader_catches_up(gate: Gate) -> None:
    """A queue that was full goes on dropping until it is half empty: one number, not one after each line."""
    queue = LogQueue(gate, 10, 1 << 20)
    for number in range(12):
        queue.put(line(str(number)))
    wait_for(lambda: gate.tried == 1)
    with queue._changed:  # as after some lines were written: 6 wait, more than half
        for _ in range(4):
            queue._bytes -= len(queue._queue.popleft().text)
    queue.put(line("too early"))
    assert queue.dropped == 3
    with queue._changed:
        for _ in range(2):
            queue._bytes -= len(queue._queue.popleft().text)
    queue.put(line("in time"))
    gate.open.set()
    assert queue.close(time.monotonic() + 20)
    assert gate.events()[-2:] == ["log lines dropped", "in time"]
    assert gate.taken[-2]["lines"] == 3


def test_the_queue_is_bounded_in_bytes(gate: Gate) -> None:
    """Long lines fill it as well as many: what waits never takes more memory than it was given."""
    queue = LogQueue(gate, 10_000, 100_000)
    for _ in range(100):
        queue.put(line("x", text="y" * 7000))
    assert 80 <= queue.dropped < 90
    gate.open.set()
    assert queue.close(time.monotonic() + 20)
    assert sum(entry["event"] == "x" for entry in gate.taken) == 100 - queue.dropped


def test_a_blocked_target_blocks_neither_caller_nor_end(gate: Gate) -> None:
    """Every call returns at once; the end waits for its deadline and no longer."""
    queue = LogQueue(gate, 100, 1 << 20)
    began = time.monotonic()
    for _ in range(5000):
        queue.put(line("x"))
    assert time.monotonic() - began < 10
    began = time.monotonic()
    assert not queue.close(time.monotonic() + 0.3)
    assert 0.25 < time.monotonic() - began < 10
    gate.open.set()


def test_a_full_disk_is_waited_out(gate: Gate) -> None:
    """A line that is refused is tried again until it is taken; none is lost while the queue holds them."""
    gate.open.set()
    gate.full = True
    queue = LogQueue(gate, 100, 1 << 20)
    for number in range(3):
        queue.put(line(str(number)))
    wait_for(lambda: gate.tried >= 3)
    assert gate.taken == []
    gate.full = False
    assert_closed(queue)
    assert gate.events() == ["0", "1", "2"]
    assert queue.dropped == 0


def assert_closed(queue: LogQueue) -> None:
    wait_for(lambda: not queue._queue)
    assert queue.close(time.monotonic() + 20)


def test_the_end_does_not_wait_for_a_full_disk(gate: Gate) -> None:
    """What cannot be written at the end is given up at once."""
    gate.open.set()
    gate.full = True
    queue = LogQueue(gate, 100, 1 << 20)
    queue.put(line("x"))
    wait_for(lambda: gate.tried >= 1)
    began = time.monotonic()
    assert not queue.close(time.monotonic() + 60)
    assert time.monotonic() - began < 30


def test_a_terminal_that_was_closed_is_forgotten(gate: Gate) -> None:
    """Lines for a target that is gone for good are nobody's: they are neither kept nor counted as lost."""
    queue = LogQueue(gate, 10, 1 << 20)
    gate.gone = True
    for _ in range(5):
        queue.put(line("x"))
    gate.open.set()
    wait_for(lambda: gate.closed)
    for _ in range(50):
        queue.put(line("y"))
    assert (queue.dropped, len(queue._queue)) == (0, 0)


def test_begun_anew_by_its_own_thread(gate: Gate) -> None:
    """``reopen`` returns at once and is done without waiting for a next line."""
    gate.open.set()
    queue = LogQueue(gate, 10, 1 << 20)
    queue.reopen()
    wait_for(lambda: gate.reopened == 1)
    assert_closed(queue)


def test_many_threads(gate: Gate) -> None:
    """Lines of several threads come whole, each thread's own in their order."""
    gate.open.set()
    queue = LogQueue(gate, 10_000, 1 << 24)

    def put(name: str) -> None:
        for number in range(300):
            queue.put(line(f"{name}{number}"))

    threads = [threading.Thread(target=put, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert queue.close(time.monotonic() + 20)
    for name in "abc":
        assert [e for e in gate.events() if e[0] == name] == [f"{name}{number}" for number in range(300)]
