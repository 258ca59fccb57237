"""An executor whose children are threads of this process and whose sockets are queues: small, quick, and real.

A child runs its own ``main`` on a channel like any other, frames included. It differs from a process in this: a thread
cannot be killed, so one that is killed goes at its next message, and one that hangs is left behind; nothing slows down
who sends more than is read; the environment is this process's own; ``lockdown`` is not applied.
"""

from __future__ import annotations

import io
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn, TextIO

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup

from ingestd.child import perform
from ingestd.child_channel import EXIT_PARENT_GONE, Channel, PeerGone
from ingestd.executors.base import ChildSpec, Ending, OnEnd, OnLine, OnMessages, OnRun
from ingestd.executors.incoming import Incoming, NotUnderstood, Printed
from ingestd.executors.outgoing import Outgoing

Main = Callable[[Channel[Any]], None]


class Pipe:
    """Bytes from one thread to another."""

    def __init__(self) -> None:
        self._chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rest = b""
        self._closed = False

    def sendall(self, data: bytes) -> None:
        """Raises ``BrokenPipeError`` once it is closed."""
        if self._closed:
            raise BrokenPipeError
        if data:
            self._chunks.put(data)

    def recv(self, size: int) -> bytes:
        """What has come, at most ``size`` bytes; empty when it is closed and everything was read."""
        data = self._rest or self._chunks.get()
        if not data:
            self._chunks.put(b"")  # for who reads once more
        self._rest = data[size:]
        return data[:size]

    def close(self) -> None:
        """Nothing more comes. May be called twice."""
        self._closed = True
        self._chunks.put(b"")


class Ends:
    """A child's end of its two pipes."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self.recv, self.sendall = incoming.recv, outgoing.sendall


_GONE: Final = object()


class ThreadChannel(Channel[Any]):
    """The channel of a child in a thread. Where a process would end, ``PeerGone`` is raised; ``code`` is its code."""

    code = EXIT_PARENT_GONE

    def leave(self, code: int = EXIT_PARENT_GONE) -> NoReturn:
        """End the child."""
        self.code = code
        raise PeerGone

    def receive(self, timeout: float | None = None) -> Any:
        """The next message."""
        message = super().receive(timeout)
        if message is _GONE:
            self._inbox.put(_GONE)  # for who asks once more
            raise PeerGone
        return message

    def _read(self) -> None:
        with suppress(PeerGone):
            super()._read()
        self._inbox.put(_GONE)


class FakeHandle:
    """The ``Handle`` of a thread. ``facts`` are its name."""

    def __init__(self, spec: ChildSpec, on_line: OnLine | None) -> None:
        self.spec = spec
        self.facts: dict[str, object] = {}
        self.ending: Ending | None = None
        self.lingers = False
        self.outbox = Outgoing(spec)
        self.messages = Incoming(spec)
        self.lines = Printed(on_line)
        self.to_child, self.from_child = Pipe(), Pipe()
        self.printed: list[tuple[str, str]] = []
        self.code: int | None = None
        self.killed = False
        self.reason = ""

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message."""
        self.outbox.put(message)

    def kill(self, reason: str = "") -> None:
        """Cut it off: its next message ends it."""
        if self.ending is None and not self.killed:
            self.killed, self.reason = True, reason
            self.close()

    def close(self) -> None:
        """Cut both pipes. What it has sent can still be read."""
        self.to_child.close()
        self.from_child.close()

    def run(self, main: Main) -> None:
        """The child's thread, from beginning to end."""
        channel = ThreadChannel(Ends(self.to_child, self.from_child), self.spec.outgoing)
        _capture(self.printed)
        try:
            self.code = perform(self.spec.name, channel, main)
        except PeerGone:
            self.code = channel.code
        self.close()


class FakeExecutor:
    """Runs ``children``: what a process of a module would run, by the module's name."""

    def __init__(self, tasks: TaskGroup, children: Mapping[str, Main]) -> None:
        self._tasks = tasks
        self._children = children

    def start(
        self,
        spec: ChildSpec,
        on_messages: OnMessages,
        on_end: OnEnd,
        *,
        on_run: OnRun | None = None,
        on_line: OnLine | None = None,
    ) -> FakeHandle:
        """Start a thread."""
        child = FakeHandle(spec, on_line)
        self._tasks.start_soon(self._run, child, on_messages, on_end, on_run)
        return child

    async def _run(self, child: FakeHandle, on_messages: OnMessages, on_end: OnEnd, on_run: OnRun | None) -> None:
        with anyio.CancelScope(shield=True):
            main = self._children.get(child.spec.module)
            if main is None:
                child.lines.last.append(f"No module named {child.spec.module}")
                code = 1
            else:
                code = await self._live(child, main, on_messages, on_run)
            child.outbox.close()
            code = child.messages.code(code)
            child.ending = Ending(code, child.messages.fatal, list(child.lines.last), reason=child.reason)
            on_end(child.ending)

    async def _live(self, child: FakeHandle, main: Main, on_messages: OnMessages, on_run: OnRun | None) -> int:
        thread = threading.Thread(target=child.run, args=(main,), name=child.spec.name, daemon=True)
        thread.start()
        child.facts["thread"] = thread.name
        if on_run is not None:
            on_run()
        reader = anyio.CapacityLimiter(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell, child)
            while data := await anyio.to_thread.run_sync(child.from_child.recv, 1 << 16, limiter=reader):
                try:
                    child.messages.feed(data, on_messages)
                except NotUnderstood as why:
                    child.kill(str(why))
                    break
            tasks.cancel_scope.cancel()
        _release(thread.ident)
        for stream, text in list(child.printed):
            child.lines.feed(stream, text.encode())
        for stream in ("stdout", "stderr"):
            child.lines.end(stream)
        return -signal.SIGKILL if child.killed or child.code is None else child.code

    async def _tell(self, child: FakeHandle) -> None:
        while frames := await child.outbox.take():
            for data in frames:
                with suppress(BrokenPipeError):  # it is gone; its ending says so
                    child.to_child.sendall(data)


# -------------------------------------------------------------------------------------------------- what they print


class _ByThread(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` while children run: what their threads print is theirs."""

    def __init__(self, stream: str, others: TextIO) -> None:
        self.stream, self.others = stream, others
        self.printed: dict[int, list[tuple[str, str]]] = {}

    def write(self, text: str) -> int:
        if (printed := self.printed.get(threading.get_ident())) is None:
            return self.others.write(text)
        printed.append((self.stream, text))
        return len(text)

    def flush(self) -> None:
        self.others.flush()


_lock = threading.Lock()


def _capture(printed: list[tuple[str, str]]) -> None:
    """Put what this thread prints from now on into ``printed``."""
    with _lock:
        for name in ("stdout", "stderr"):
            if not isinstance(now := getattr(sys, name), _ByThread):
                setattr(sys, name, now := _ByThread(name, now))
            now.printed[threading.get_ident()] = printed


def _release(thread: int | None) -> None:
    """The child has ended, or is left behind."""
    with _lock:
        for name in ("stdout", "stderr"):
            if thread is not None and isinstance(now := getattr(sys, name), _ByThread):
                now.printed.pop(thread, None)
                if not now.printed:
                    setattr(sys, name, now.others)
