"""Framing without I/O: bytes in, whole messages out, with the limits that keep a bad peer from costing memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import GenericAlias
from typing import Any, Final

import msgspec

from ingestd.errors import ProtocolError

MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes of one frame between daemon and child: 500 listing entries or a window of results fit many times over."""

_ARRAY_HEADER: Final = 5
"""Bytes that MessagePack takes at most to say how many elements an array has."""

MAX_MESSAGE: Final = MAX_FRAME - _ARRAY_HEADER
"""Bytes of one encoded message: it must fit a frame alone."""

MAX_LINE: Final = 64 * 1024
"""Bytes of one request line on the control socket; longer input (file lists) is spooled as a file instead."""

_HEADER: Final = 4


def frame(body: bytes) -> bytes:
    """``body`` with its length in front, 4 bytes big-endian. Raises ``ProtocolError`` above ``MAX_FRAME``."""
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return len(body).to_bytes(_HEADER, "big") + body


def checked(message: bytes) -> bytes:
    """An encoded message that can be sent. Raises ``ProtocolError`` above ``MAX_MESSAGE``."""
    if len(message) > MAX_MESSAGE:
        raise ProtocolError(f"a message of {len(message)} bytes is over the limit of {MAX_MESSAGE}")
    return message


def frames(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Encoded messages in order, in as few frames as ``MAX_FRAME`` allows. The body of a frame is an array of messages.

    Raises ``ProtocolError`` for a message above ``MAX_MESSAGE``.
    """
    together: list[bytes] = []
    size = 0
    for message in messages:
        if together and size + len(message) > MAX_MESSAGE:
            yield frame(_array(together))
            together, size = [], 0
        together.append(checked(message))
        size += len(message)
    if together:
        yield frame(_array(together))


def _array(elements: list[bytes]) -> bytes:
    """Encoded elements as an encoded array (msgpack's specification, "array format family")."""
    count = len(elements)
    if count < 1 << 4:
        header = bytes((0x90 | count,))
    elif count < 1 << 16:
        header = b"\xdc" + count.to_bytes(2, "big")
    else:
        header = b"\xdd" + count.to_bytes(4, "big")
    return b"".join((header, *elements))


def decoder(union: Any) -> msgspec.msgpack.Decoder[list[Any]]:
    """What makes the body of a frame into messages, each of which is one of ``union``.

    It raises ``msgspec.DecodeError``, with the name of a message that is none of them.
    """
    return msgspec.msgpack.Decoder(GenericAlias(list, (union,)))


class FrameReader:
    """Cuts a stream of bytes into frame bodies: ``feed`` what arrived, iterate what is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add ``data``; yield each body that is complete. Raises ``ProtocolError`` on a length over ``MAX_FRAME``."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _HEADER:
            length = int.from_bytes(self._buffer[start : start + _HEADER], "big")
            if length > MAX_FRAME:
                raise ProtocolError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
            end = start + _HEADER + length
            if len(self._buffer) < end:
                break
            yield bytes(self._buffer[start + _HEADER : end])
            start = end
        del self._buffer[:start]


class LineReader:
    """Cuts a stream into lines without their newline. A line over ``limit`` bytes is reported once, then skipped.

    Holds at most ``limit`` bytes between two calls, and looks at each byte for a newline once: neither a line without
    an end nor one that comes byte by byte costs more than its length.
    """

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._seen = 0
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | ProtocolError]:
        """Add ``data``; yield each whole line, or a ``ProtocolError`` (as a value) for one that is too long."""
        self._buffer += data
        start = 0
        while (at := self._buffer.find(b"\n", max(start, self._seen))) >= 0:
            line = bytes(self._buffer[start:at])
            start = self._seen = at + 1
            if self._skipping:
                self._skipping = False
            elif len(line) > self._limit:
                yield self._too_long()
            else:
                yield line
        del self._buffer[:start]
        if not self._skipping and len(self._buffer) > self._limit:
            self._skipping = True
            yield self._too_long()
        if self._skipping:
            self._buffer.clear()
        self._seen = len(self._buffer)

    def _too_long(self) -> ProtocolError:
        return ProtocolError(f"a request line over {self._limit} bytes")

    def rest(self) -> bytes:
        """What came after the last newline: a client that half-closes without one is still answered."""
        line, self._buffer, self._seen = bytes(self._buffer), bytearray(), 0
        return b"" if self._skipping else line
