"""What comes out of a child: bytes made into messages, and printed lines, each with its limits. No I/O."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ingestd.errors import ProtocolError
from ingestd.executors.base import ChildSpec, OnLine
from ingestd.protocol.wire import FrameReader, decoder
from ingestd.protocol.work import PROTOCOL, Fatal, Hello

LAST_LINES: Final = 20
"""Lines of a child's stderr that are kept for its ``Ending``."""

MAX_LINES: Final = 500
"""Lines of one child that are passed on: image libraries can write one for every damaged strip of a file."""

MAX_LINE: Final = 4_000
"""Bytes of one line of a child's output; the rest of a longer one is dropped."""


class NotUnderstood(Exception):
    """The child is to be ended, and the text says why."""


class Incoming:
    """The messages that come from one child. ``fatal`` is what it said of its own end; ``refused``: it sent what was
    not understood."""

    def __init__(self, spec: ChildSpec) -> None:
        self._frames = FrameReader()
        self._decoder = decoder(spec.incoming)
        self.fatal: Fatal | None = None
        self.refused = False

    def feed(self, data: bytes, hear: Callable[[list[Any]], None]) -> None:
        """Pass on what is whole. Raises ``NotUnderstood`` for what is no message of this child's."""
        heard: list[Any] = []
        try:
            for body in self._frames.feed(data):
                for message in self._decoder.decode(body):
                    self._take(message, heard)
        except NotUnderstood:
            self.refused = True
            raise
        except (ProtocolError, msgspec.DecodeError) as error:
            self.refused = True
            raise NotUnderstood(f"it sent what is no message: {error}") from None
        finally:
            if heard:
                hear(heard)

    def code(self, code: int) -> int:
        """The exit code that counts: a child that was refused and ended by itself in the same moment was not well."""
        return -signal.SIGKILL if self.refused and code == 0 else code

    def _take(self, message: Any, heard: list[Any]) -> None:
        match message:
            case Hello(protocol=protocol):
                if protocol != PROTOCOL:
                    raise NotUnderstood(f"it speaks protocol {protocol}, the daemon {PROTOCOL}: restart the daemon")
            case Fatal():
                self.fatal = message
            case _:
                heard.append(message)


class Printed:
    """What a child prints, cut into lines. ``last`` are those of stderr."""

    def __init__(self, on_line: OnLine | None) -> None:
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._on_line = on_line or (lambda stream, line: None)
        self._rest: dict[str, bytes] = {}
        self._count = 0

    def feed(self, stream: str, data: bytes) -> None:
        """What it printed on ``stream``."""
        *lines, rest = (self._rest.get(stream, b"") + data).split(b"\n")
        self._rest[stream] = rest[:MAX_LINE]
        for line in lines:
            self._line(stream, line)

    def end(self, stream: str) -> None:
        """Nothing more comes of ``stream``: its last line may have no newline."""
        self._line(stream, self._rest.pop(stream, b""))

    def _line(self, stream: str, line: bytes) -> None:
        text = line[:MAX_LINE].decode("utf-8", "replace").rstrip()
        if not text:
            return
        if stream == "stderr":
            self.last.append(text)
        self._count += 1
        if self._count < MAX_LINES:
            self._on_line(stream, text)
        elif self._count == MAX_LINES:
            self._on_line(stream, "… it prints more than a log can use; the rest is dropped")
