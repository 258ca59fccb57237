"""The child's end of its socket: messages to and from the daemon, whole and in order.

When the socket ends the process ends, at once: the ledger is the truth, so there is nothing in a child worth saving.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

import msgspec

from ingestd.errors import ProtocolError
from ingestd.protocol.wire import FrameReader, checked, decoder, frames

In = TypeVar("In")
T = TypeVar("T")

EXIT_PARENT_GONE: Final = 70
"""Exit code of a child whose daemon is gone. Nobody is left to read it."""


class Stream(Protocol):
    """What a channel needs of a socket. Both raise ``OSError`` where the peer is gone."""

    def recv(self, size: int, /) -> bytes: ...

    def sendall(self, data: bytes, /) -> object: ...


class PeerGone(BaseException):
    """The other end is gone. Raised only where a child runs in a thread, which cannot end its process."""


class Channel(Generic[In]):
    """The child's end of its socket. ``send`` may be called from any thread; ``receive`` gives messages in order.
    ``stream`` is the socket itself."""

    def __init__(self, stream: Stream, incoming: Any) -> None:
        """``incoming`` is the union of the messages that may come."""
        self.stream = stream
        self._decoder = decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()
        self._unsent: deque[bytes] = deque()
        self._frames = FrameReader()
        self._inbox: queue.SimpleQueue[In] = queue.SimpleQueue()
        self._progress: Callable[[], None] | None = None

    def start(self, progress: Callable[[], None] | None = None) -> None:
        """Read from now on in a thread; ``progress`` is called with each message that is sent."""
        self._progress = progress
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    def await_one(self, wanted: Callable[[In], T | None]) -> T:
        """Before ``start``: read until ``wanted`` says something of a message. All are received later, in order."""
        while True:
            messages = self._take()
            for message in messages:
                self._inbox.put(message)
            for message in messages:
                if (found := wanted(message)) is not None:
                    return found

    def send(self, message: msgspec.Struct) -> None:
        """Send one message, whole; returns when it has gone, so it blocks while the daemon is not reading.

        Messages of threads that wait for each other here go in one frame. Raises ``ProtocolError`` for one over the
        size of a frame.
        """
        self._unsent.append(checked(self._encoder.encode(message)))
        with self._lock:  # whoever has it sends what the others have queued meanwhile
            together = [self._unsent.popleft() for _ in range(len(self._unsent))]
            try:
                for data in frames(together):
                    self.stream.sendall(data)
            except OSError:
                self.leave()
        if self._progress is not None:
            self._progress()

    def receive(self, timeout: float | None = None) -> In | None:
        """The next message; None when ``timeout`` seconds pass without one (0: only what is there already)."""
        try:
            return self._inbox.get(timeout=timeout) if timeout != 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _read(self) -> None:
        while True:
            for message in self._take():
                self._inbox.put(message)

    def _take(self) -> list[In]:
        """What arrives next, decoded; where nothing will, this process ends."""
        try:
            data = self.stream.recv(1 << 16)
            messages = [message for body in self._frames.feed(data) for message in self._decoder.decode(body)]
        except (OSError, ProtocolError, msgspec.DecodeError) as error:
            if not isinstance(error, OSError):
                print(f"it was sent what is no message for it: {error}", file=sys.stderr, flush=True)
            data = b""
        if not data:
            self.leave()
        return messages

    def leave(self, code: int = EXIT_PARENT_GONE) -> NoReturn:
        """End at once, without a word: the peer is gone, or speaks nonsense. In a thread it raises ``PeerGone``."""
        os._exit(code)
