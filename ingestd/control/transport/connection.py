"""One client's connection once it has asked something: bytes in and out, with the time that a reply may take."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.lowlevel

from ingestd.control.transport.peer import Rights
from ingestd.protocol.wire import LineReader

REPLY_S: Final = 30.0
"""Seconds that a client may take to read a reply before its connection is closed."""

READ_BYTES: Final = 64 * 1024


class Gone(Exception):
    """The other end is closed, or takes nothing: nobody to tell."""


@dataclass(slots=True)
class Connection:
    """A connection with a slot.

    ``pending``: something was asked that is not answered yet; ``verb``: what is carried out of that; ``owed``: bytes
    of a reply that it does not take. ``number`` grows with age: the lowest came first.
    """

    number: int
    sock: socket.socket
    rights: Rights
    reader: LineReader
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    pending: bool = True
    verb: str | None = None
    owed: int = 0

    async def receive(self) -> bytes:
        """What came, or nothing at the end of the stream. Raises ``Gone``."""
        while True:
            try:
                return self.sock.recv(READ_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self.sock)
            except OSError as error:
                raise Gone from error

    async def send(self, data: bytes) -> None:
        """All of ``data``. Raises ``Gone`` when it is not taken within ``REPLY_S``.

        What does not go out at once is counted in ``owed`` until it has.
        """
        left = memoryview(data)
        try:
            left = left[self._push(left) :]
            with anyio.fail_after(REPLY_S):
                while left:
                    self.owed = len(left)
                    await anyio.wait_writable(self.sock)
                    left = left[self._push(left) :]
        except (TimeoutError, OSError) as error:
            raise Gone from error
        finally:
            self.owed = 0
        await anyio.lowlevel.checkpoint()  # a client that pipelines its requests must not keep the loop from the others

    def refuse(self, data: bytes) -> None:
        """Say ``data``, if it can be said at once, and close."""
        try:
            self._push(memoryview(data))
        except OSError:
            pass  # it went by itself
        self.sock.close()

    def _push(self, data: memoryview) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0


class Hangups:
    """Which connections' other ends are closed, not only half: one system call for all of them."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._by_descriptor: dict[int, Connection] = {}

    def add(self, connection: Connection) -> None:
        """Watch from now on; until ``remove``, which comes before its socket is closed."""
        descriptor = connection.sock.fileno()
        self._by_descriptor[descriptor] = connection
        self._poll.register(descriptor, 0)  # a hang-up is told without being asked for

    def remove(self, connection: Connection) -> None:
        descriptor = connection.sock.fileno()
        del self._by_descriptor[descriptor]
        self._poll.unregister(descriptor)

    def now(self) -> set[int]:
        """The numbers of the connections that nobody reads any more."""
        return {self._by_descriptor[descriptor].number for descriptor, _ in self._poll.poll(0)}
