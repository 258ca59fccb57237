"""The connection of one client with a slot: reads and writes bytes, within the time that a reply may take."""

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
    """The client has closed the connection, or does not read its reply: it cannot be told anything."""


@dataclass(slots=True)
class Connection:
    """A connection with a slot.

    ``pending``: a request is not answered yet; ``verb``: the one that is carried out now; ``owed``: bytes of a reply
    that the client has not read. The lowest ``number`` is the oldest connection.
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
        """The next bytes; none at the end of the stream. Raises ``Gone``."""
        while True:
            try:
                return self.sock.recv(READ_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self.sock)
            except OSError as error:
                raise Gone from error

    async def send(self, data: bytes) -> None:
        """Send all of ``data``. Raises ``Gone`` when the client does not read it within ``REPLY_S``.

        What the socket does not take at once is counted in ``owed`` until it does.
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
        """Send as much of ``data`` as the socket takes at once, and close."""
        try:
            self._push(memoryview(data))
        except OSError:
            pass  # the client has gone by itself
        self.sock.close()

    def _push(self, data: memoryview) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0


class Hangups:
    """Finds the connections whose clients have closed both directions, with one system call for all of them."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._by_descriptor: dict[int, Connection] = {}

    def add(self, connection: Connection) -> None:
        """Watch this connection, until ``remove``. That must come before its socket is closed."""
        descriptor = connection.sock.fileno()
        self._by_descriptor[descriptor] = connection
        self._poll.register(descriptor, 0)  # poll reports a hang-up whatever it is asked for

    def remove(self, connection: Connection) -> None:
        descriptor = connection.sock.fileno()
        del self._by_descriptor[descriptor]
        self._poll.unregister(descriptor)

    def now(self) -> set[int]:
        """The numbers of the connections whose clients have hung up."""
        return {self._by_descriptor[descriptor].number for descriptor, _ in self._poll.poll(0)}
