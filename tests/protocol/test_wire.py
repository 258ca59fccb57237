"""Frames and lines without I/O: however the bytes are cut, the messages are the same; limits hold before memory."""

from __future__ import annotations

from itertools import pairwise
from unittest import mock

import msgspec
import pytest
from hypothesis import given, strategies as st

from ingestd.errors import ProtocolError
from ingestd.protocol import wire
from ingestd.protocol.wire import MAX_FRAME, MAX_MESSAGE, FrameReader, LineReader, decoder, frame, frames
from ingestd.protocol.work import Drain, Encoded, Finish


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts, at = [], 0
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return [*parts, data[at:]]


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(0, 20), max_size=30))
def test_frames_come_out_as_they_went_in(bodies: list[bytes], sizes: list[int]) -> None:
    """However the stream is cut, empty bodies included; nothing is left over, nothing comes early."""
    reader = FrameReader()
    data = b"".join(map(frame, bodies))
    seen: list[bytes] = []
    for part in cut(data, sizes):
        seen += reader.feed(part)
    assert seen == bodies


def test_a_frame_over_the_limit_is_refused_on_both_sides() -> None:
    """The sender says so; the receiver believes no length above it, before a byte of the body has come."""
    with pytest.raises(ProtocolError):
        frame(bytes(MAX_FRAME + 1))
    assert len(frame(bytes(MAX_FRAME))) == MAX_FRAME + 4
    with pytest.raises(ProtocolError):
        list(FrameReader().feed((MAX_FRAME + 1).to_bytes(4, "big")))


@given(st.lists(st.binary(max_size=60), max_size=40), st.lists(st.integers(0, 50), max_size=30))
def test_messages_come_out_of_their_frames_as_they_went_in(vectors: list[bytes], sizes: list[int]) -> None:
    """All of them, once, in order, however they were put together and the stream is cut; no frame is over the limit,
    and no two frames would have fitted one."""
    messages = [Encoded(number, vector) for number, vector in enumerate(vectors)]
    with mock.patch.multiple(wire, MAX_FRAME=155, MAX_MESSAGE=150):
        together = list(frames([msgspec.msgpack.encode(message) for message in messages]))
    reader, seen = FrameReader(), []
    bodies = [body for part in cut(b"".join(together), sizes) for body in reader.feed(part)]
    for body in bodies:
        seen += decoder(Encoded | Finish).decode(body)
    assert seen == messages
    assert all(len(body) <= 155 for body in bodies)
    assert all(len(one) + len(other) > 150 for one, other in pairwise(bodies))


@pytest.mark.parametrize("count", [0, 1, 15, 16, (1 << 16) - 1, 1 << 16])
def test_a_frame_holds_any_number_of_messages(count: int) -> None:
    """One frame, at every width of an array's length; no frame for no message."""
    messages = [Finish()] * count
    together = list(frames(map(msgspec.msgpack.encode, messages)))
    assert len(together) == (count > 0)
    assert [m for data in together for m in decoder(Finish).decode(data[4:])] == messages
    assert b"".join(together)[4:] == (msgspec.msgpack.encode(messages) if count else b"")


def test_a_message_over_the_limit_is_refused() -> None:
    """The largest message fits a frame alone; a larger one is an error where it is sent."""
    assert [len(data) <= MAX_FRAME + 4 for data in frames([bytes(MAX_MESSAGE), b"\x00"])] == [True, True]
    with pytest.raises(ProtocolError, match=f"message of {MAX_MESSAGE + 1} bytes"):
        list(frames([bytes(MAX_MESSAGE + 1)]))


def test_a_message_that_is_not_known_is_named() -> None:
    """Its name is in the error, wherever it stands in its frame."""
    (data,) = frames([msgspec.msgpack.encode(Finish()), msgspec.msgpack.encode(Drain())])
    with pytest.raises(msgspec.DecodeError, match="'Drain'"):
        decoder(Encoded | Finish).decode(data[4:])


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b" ")), max_size=8),
    st.lists(st.integers(0, 12), max_size=30),
)
def test_lines_and_the_ones_that_are_too_long(lines: list[bytes], sizes: list[int]) -> None:
    """A long line is one error at its place, however it is cut; its neighbours are whole."""
    reader = LineReader(limit=10)
    seen: list[bytes | None] = []
    for part in cut(b"".join(line + b"\n" for line in lines), sizes):
        seen += [None if isinstance(found, ProtocolError) else found for found in reader.feed(part)]
    assert seen == [line if len(line) <= 10 else None for line in lines]
    assert reader.rest() == b""


def test_a_long_line_costs_no_memory() -> None:
    """What comes of it after the error is dropped as it comes."""
    reader = LineReader(limit=10)
    found = [error for _ in range(100) for error in reader.feed(b"x" * 1000)]
    assert [type(error) for error in found] == [ProtocolError]
    assert len(reader._buffer) == 0
    assert list(reader.feed(b"end\nok\n")) == [b"ok"]


def test_the_rest_of_a_half_closed_connection() -> None:
    """A request without its newline is still a request; the rest of a line that was too long is none."""
    reader = LineReader(limit=10)
    assert list(reader.feed(b"one\ntw")) == [b"one"]
    assert reader.rest() == b"tw"
    list(reader.feed(b"x" * 11))
    assert reader.rest() == b""
