"""Frames and lines without I/O: however the bytes are cut, the messages are the same; limits hold before memory."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ingestd.errors import ProtocolError
from ingestd.protocol.wire import MAX_FRAME, FrameReader, LineReader, frame


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
