"""Accepts connections, and holds each until its first request is there.

Such a connection has no task, no stream and, until its first byte, no buffer: accepting it and closing it again takes
microseconds. In a flood of connections the oldest silent ones are closed first, so a client that sends a request is
read at once. When there are more requests than slots, the processes take turns (``fair_queue``).
"""

from __future__ import annotations

import errno
import itertools
import resource
import selectors
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import anyio
import anyio.lowlevel
from structlog.typing import FilteringBoundLogger

from ingestd.control.transport.fair_queue import FairQueue
from ingestd.control.transport.listener import Listener
from ingestd.control.transport.peer import Peer, Rights
from ingestd.errors import ProtocolError
from ingestd.protocol import rpc
from ingestd.protocol.wire import LineReader

SILENT_MAX: Final = 1024
"""Silent connections to keep. In a flood of 10,000 a second, a client has 100 ms for its first byte before newer
connections push it out; with 64 it had 6 ms, less than the scheduler of a busy machine takes."""

SILENT_SHARE: Final = 4
"""At most one in so many of the descriptors that this process may have goes to silent connections."""

BEGUN_MAX: Final = rpc.MAX_CLIENTS
"""Connections with a part of their first line: each may hold 64 KiB."""

ACCEPT_AT_ONCE: Final = 128
"""Connections to accept in one go: it takes two or three milliseconds, in which nothing else of the daemon runs."""

HEAR_BYTES: Final = 4096
"""Bytes to read from a connection without a slot: mostly a whole request, and little for a thousand together."""

ADMIT_AT_ONCE: Final = 8
"""Slots to give in one turn of the loop, so that clients with a slot are served in between."""

ASKED_S: Final = 10.0
"""Seconds that a connection with a request waits for a slot; then it is told to try again."""

FULL_S: Final = 0.005
"""Seconds between two tries to get a slot while all are taken: most requests take less."""

ACCEPT_RETRY_S: Final = 0.5
COMPLAIN_S: Final = 60.0

_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Arrival(NamedTuple):
    """A connection whose first request is there, in ``lines``. ``reader`` holds the bytes behind them, and ``ended``
    says that no more will come. ``until``: when it has waited long enough for a slot, on the event loop's clock."""

    until: float
    sock: socket.socket
    peer: Peer
    reader: LineReader
    lines: Iterator[bytes | ProtocolError]
    ended: bool

    @property
    def pid(self) -> int:
        return self.peer.pid


@dataclass(slots=True)
class _Newcomer:
    sock: socket.socket
    peer: Peer
    until: float
    reader: LineReader | None = None


class Acceptor:
    """Accepts connections, reads their first line, and hands them over.

    ``known`` says who a peer is. ``admit`` gives a connection a slot, or returns false when there is none; ``refuse``
    closes one that has waited too long for a slot.
    """

    def __init__(
        self,
        known: Callable[[socket.socket], Peer],
        admit: Callable[[Arrival], bool],
        refuse: Callable[[Arrival], None],
        log: FilteringBoundLogger,
    ) -> None:
        self._known, self._admit, self._refuse = known, admit, refuse
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._closed_until = 0.0
        self._complained = -COMPLAIN_S
        # Insertion order is age: the oldest goes first, and the first silent one is the next whose time is over.
        self._silent: dict[int, _Newcomer] = {}
        self._begun: dict[int, _Newcomer] = {}
        self._asked: FairQueue[Arrival] = FairQueue()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._silent_max = SILENT_MAX if soft == resource.RLIM_INFINITY else min(SILENT_MAX, soft // SILENT_SHARE)

    def listen(self, listener: Listener) -> None:
        """Accept from this open listener from now on, and close the socket before it."""
        if self._listener is not None:
            self._shut()
            self._listener.close()
        self._listener = listener.sock
        assert self._listener is not None, "the listener is not open"
        self._selector.register(self._listener, selectors.EVENT_READ)

    def close(self) -> None:
        """End every connection, and the listening socket."""
        waiting: list[_Newcomer | Arrival] = [*self._silent.values(), *self._begun.values(), *self._asked.clear()]
        for one in waiting:
            one.sock.close()
        self._silent.clear()
        self._begun.clear()
        self._selector.close()
        if self._listener is not None:
            self._listener.close()

    async def serve(self) -> None:
        """Accept connections and hand them over, until cancelled."""
        some = False
        while True:
            if some:
                await anyio.lowlevel.checkpoint()
            else:
                with anyio.move_on_after(self._wake_in()):
                    await anyio.wait_readable(self._selector.fileno())
            now = anyio.current_time()
            try:
                self._turn(now)
                some = self._let_in(now)
            except Exception:  # a defect of ours: the listener stays open, and clients with a slot are served
                self._log.exception("the acceptor failed")
                await anyio.sleep(ACCEPT_RETRY_S)

    def _let_in(self, now: float) -> bool:
        """Give slots to some of the waiting connections; whether to try again at once."""
        admitted = self._asked.take(self._admit, ADMIT_AT_ONCE)
        for arrival in self._asked.overdue(now, self._silent_max):
            self._refuse(arrival)
        return len(self._asked) > 0 and admitted == ADMIT_AT_ONCE

    def _wake_in(self) -> float | None:
        if self._asked:
            return FULL_S
        ends = [newcomer.until for newcomer in self._begun.values()]
        if self._silent:
            ends.append(next(iter(self._silent.values())).until)
        if self._is_shut():
            ends.append(self._closed_until)
        return max(0.0, min(ends) - anyio.current_time()) if ends else None

    def _turn(self, now: float) -> None:
        """Accept and read what is there now, and close the connections whose time is over."""
        if self._is_shut() and now >= self._closed_until and self._listener is not None:
            self._selector.register(self._listener, selectors.EVENT_READ)
        for key, _ in self._selector.select(0):
            if key.data is not None:
                self._hear(key.data, now)
            else:
                self._accept(now)
        while self._silent and (oldest := next(iter(self._silent.values()))).until <= now:
            self._drop(oldest)
        for newcomer in [newcomer for newcomer in self._begun.values() if newcomer.until <= now]:
            self._drop(newcomer)

    # ------------------------------------------------------------------------------------------------------- accepting

    def _accept(self, now: float) -> None:
        assert self._listener is not None
        for _ in range(ACCEPT_AT_ONCE):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _SCARCE:
                    self._scarce(error, now)
                    break
                continue  # that client went before it was accepted
            sock.setblocking(False)
            try:
                peer: Peer | None = self._known(sock)
            except OSError:  # the client is gone
                peer = None
            if peer is None or peer.rights is Rights.NONE:
                sock.close()
                continue
            newcomer = _Newcomer(sock, peer, now + rpc.FIRST_LINE_S)
            self._silent[sock.fileno()] = newcomer
            self._hear(newcomer, now)  # most requests are there before their connection is accepted
            if sock.fileno() in self._silent or sock.fileno() in self._begun:
                self._selector.register(sock, selectors.EVENT_READ, newcomer)
        while len(self._silent) > self._silent_max:
            self._drop(next(iter(self._silent.values())))

    def _scarce(self, error: OSError, now: float) -> None:
        """For want of descriptors or memory: half of the silent connections are closed, or accepting stops a moment."""
        if now - self._complained >= COMPLAIN_S:
            self._complained = now
            self._log.warning("a client could not be accepted", cause=error.strerror or str(error))
        if self._silent:
            for newcomer in list(self._silent.values())[: len(self._silent) // 2 + 1]:
                self._drop(newcomer)
        else:
            self._shut()
            self._closed_until = now + ACCEPT_RETRY_S

    def _is_shut(self) -> bool:
        return self._listener is not None and self._listener not in self._selector.get_map()

    def _shut(self) -> None:
        if not self._is_shut():
            assert self._listener is not None
            self._selector.unregister(self._listener)

    # --------------------------------------------------------------------------------------------------------- hearing

    def _hear(self, newcomer: _Newcomer, now: float) -> None:
        """Read from a connection; with its first whole line it joins those that wait for a slot."""
        if newcomer.sock.fileno() < 0:
            return  # closed in this very turn
        try:
            data = newcomer.sock.recv(HEAR_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        reader = newcomer.reader or LineReader()
        # Half-closed without a newline: still answered.
        lines = reader.feed(data) if data else iter([reader.rest()])
        first = next((line for line in lines if isinstance(line, ProtocolError) or line.strip()), None)
        if first is not None:
            self._forget(newcomer)
            every = itertools.chain([first], lines)
            self._asked.add(Arrival(now + ASKED_S, newcomer.sock, newcomer.peer, reader, every, not data))
        elif not data:
            self._drop(newcomer)
        elif newcomer.reader is None:
            newcomer.reader = reader
            self._begun[newcomer.sock.fileno()] = self._silent.pop(newcomer.sock.fileno())
            if len(self._begun) > BEGUN_MAX:
                self._drop(next(iter(self._begun.values())))

    def _forget(self, newcomer: _Newcomer) -> None:
        descriptor = newcomer.sock.fileno()
        if newcomer.sock in self._selector.get_map():
            self._selector.unregister(newcomer.sock)
        if self._silent.pop(descriptor, None) is None:
            del self._begun[descriptor]

    def _drop(self, newcomer: _Newcomer) -> None:
        self._forget(newcomer)
        newcomer.sock.close()
