"""What comes out of a child is cut, counted and refused without any I/O."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from ingestd.executors.base import ChildSpec
from ingestd.executors.incoming import LAST_LINES, MAX_LINE, MAX_LINES, Incoming, NotUnderstood, Printed
from ingestd.protocol.wire import frames
from ingestd.protocol.work import PROTOCOL, Encoded, Fatal, FromWorker, Hello, Message, Ready, ToWorker

SPEC = ChildSpec("ingestd.worker", "worker 1", ToWorker, FromWorker)


class Novelty(Message):
    """No child of this release sends it."""


def framed(*messages: Message) -> bytes:
    """Each message in a frame of its own."""
    return b"".join(data for message in messages for data in frames([msgspec.msgpack.encode(message)]))


def test_hello_and_fatal_are_the_executors_own() -> None:
    """The rest is passed on in order; what a child says of its end is kept for its ending."""
    heard: list[list[Any]] = []
    messages = Incoming(SPEC)
    fatal = Fatal("unavailable", "no route", "reach", "it", "Wait")
    messages.feed(framed(Hello("worker", 1, 0.0), Ready(1.0, 2), Encoded(1, None), fatal), heard.append)
    assert heard == [[Ready(1.0, 2), Encoded(1, None)]]
    assert messages.fatal == fatal


def test_an_unknown_message_is_named_and_what_came_before_is_heard() -> None:
    """Nobody guesses what it may have meant."""
    heard: list[list[Any]] = []
    with pytest.raises(NotUnderstood, match="Novelty"):
        Incoming(SPEC).feed(framed(Ready(1.0, 2), Novelty(), Ready(2.0, 2)), heard.append)
    assert heard == [[Ready(1.0, 2)]]


def test_another_protocol_is_refused_with_both_numbers() -> None:
    """An upgrade under a running daemon is told as what it is."""
    with pytest.raises(NotUnderstood, match=rf"speaks protocol {PROTOCOL + 1}, the daemon {PROTOCOL}"):
        Incoming(SPEC).feed(framed(Hello("worker", 1, 0.0, PROTOCOL + 1)), lambda _: None)


@given(
    st.lists(st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=20), max_size=30),
    st.lists(st.integers(1, 40), max_size=30),
)
def test_lines_are_whole_however_they_are_cut(lines: list[str], sizes: list[int]) -> None:
    """Each line once, in order, the last one without a newline included; the last of stderr are kept."""
    seen: list[str] = []
    out = Printed(lambda stream, line: seen.append(line))
    data, at = "\n".join(lines).encode(), 0
    for size in [*sizes, len(data)]:
        out.feed("stderr", data[at : at + size])
        at += size
    out.end("stderr")
    assert seen == lines
    assert list(out.last) == lines[-LAST_LINES:]


def test_a_talkative_child_is_cut_short_once() -> None:
    """Beyond ``MAX_LINES`` one sentence says so; its last lines are kept all the same. A long line is cut."""
    seen: list[str] = []
    out = Printed(lambda stream, line: seen.append(line))
    for number in range(2 * MAX_LINES):
        out.feed("stderr", b"line %d\n" % number)
    assert len(seen) == MAX_LINES
    assert "the rest is dropped" in seen[-1]
    assert out.last[-1] == f"line {2 * MAX_LINES - 1}"
    out = Printed(None)
    for _ in range(10):
        out.feed("stderr", b"x" * MAX_LINE)
    out.end("stderr")
    assert [len(line) for line in out.last] == [MAX_LINE]
