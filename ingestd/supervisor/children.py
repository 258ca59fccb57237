"""Child processes: started, heard, told and ended. What they mean is decided elsewhere.

Every outside thing (source paths, models, stores) is touched by a child alone. A child is started from the event loop's
own thread, the process's first one, because the kernel binds the death signal that it asks for to the spawning thread.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, Process, TaskGroup, UNIXSocketStream
from anyio.streams.memory import MemoryObjectSendStream

from ingestd.errors import ProtocolError
from ingestd.lockdown.environment import of_child
from ingestd.protocol.sink import FromSink
from ingestd.protocol.walk import FromWalker
from ingestd.protocol.wire import FrameReader, frame
from ingestd.protocol.work import PROTOCOL, Fatal, FromWorker, Hello, Locked

Room = Literal["worker", "walker", "sinks"]

INCOMING: Final[dict[Room, Any]] = {"worker": FromWorker, "walker": FromWalker, "sinks": FromSink}
LAST_LINES: Final = 20
"""Lines of a child's stderr that are kept for its obituary."""

MAX_LINES: Final = 500
"""Lines of one child that reach the log: image libraries can write one for every damaged strip of a file."""

MAX_LINE: Final = 4_000
"""Bytes of one line of a child's output in the log; the rest of a longer one is dropped."""

ABANDON_S: Final = 5.0
"""Seconds after SIGKILL until a child is given up: the kernel holds it, in a call to a disk or share that is gone."""

MOST_ABANDONED: Final = 2
"""Children that may hang in the kernel over one source or store. While so many do, no other one is sent there."""


@dataclass(slots=True)
class Ending:
    """How a child ended. ``code`` is negative for a signal; ``fatal`` is what it said of itself, if anything.

    ``hung``: a disk or share that does not answer is why. It has not ended, and nobody waits for it any longer; or it
    was not started, because it would hang beside others.
    """

    code: int
    fatal: Fatal | None
    last_lines: list[str]
    hung: bool = False

    @property
    def clean(self) -> bool:
        return self.code == 0

    def cause(self) -> str:
        """One sentence for people: its own words, the signal, or its last line."""
        if self.fatal is not None:
            return f"cannot {self.fatal.operation} {self.fatal.object}: {self.fatal.message}. {self.fatal.remedy}"
        if self.hung:
            return "it hangs in the kernel and cannot be ended: a disk or share that it reads does not answer"
        if self.code < 0:
            return f"it was ended by {signal.Signals(-self.code).name}"
        last = f": {self.last_lines[-1]}" if self.last_lines else ""
        return f"it exited with code {self.code}{last}"


@dataclass(slots=True)
class Child:
    """A running child. ``send`` never blocks; ``pid`` is None until the process exists, ``locked`` until it has given
    up what it does not need. ``environ`` is what it inherits, ``touches`` what it may come to hang over."""

    room: Room
    name: str
    outbox: MemoryObjectSendStream[msgspec.Struct]
    environ: dict[str, str]
    locked: Locked | None = None
    pid: int | None = None
    fatal: Fatal | None = None
    ending: Ending | None = None
    kill_asked: anyio.Event = field(default_factory=anyio.Event)
    lines: int = 0
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    about: dict[str, object] = field(default_factory=dict)
    touches: frozenset[object] = frozenset()

    @property
    def traces(self) -> dict[str, object]:
        """The fields that every log line about it has: whose it is, and its pid."""
        return {**self.about, "pid": self.pid}

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message; what is sent to a child that is gone is dropped."""
        try:
            self.outbox.send_nowait(message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # it is gone; its ending says so

    def kill(self) -> None:
        """SIGKILL to its whole process group, at once."""
        self.kill_asked.set()
        if self.pid is not None and self.ending is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended by itself just now


OnMessage = Callable[[Any], None]
OnEnd = Callable[[Ending], None]
OnLine = Callable[[Child, str, str], None]
OnChild = Callable[[Child], None]


class Children:
    """Starts children in a task group; ``on_line`` gets (child, stream name, line) of what they print, ``on_start``
    each one whose process exists, ``on_abandon`` each one that SIGKILL does not end. ``lockdown``: ``auto``, or ``no``
    to leave them what they may touch."""

    def __init__(
        self, tasks: TaskGroup, on_start: OnChild, on_line: OnLine, on_abandon: OnChild, lockdown: str = "auto"
    ) -> None:
        self._tasks = tasks
        self._on_start = on_start
        self._on_line = on_line
        self._on_abandon = on_abandon
        self._lockdown = lockdown
        self.alive: dict[int, Child] = {}
        self.abandoned: dict[int, Child] = {}

    def kill_all(self) -> None:
        """End every child at once."""
        for child in list(self.alive.values()):
            child.kill()

    def start(
        self,
        room: Room,
        name: str,
        on_message: OnMessage,
        on_end: OnEnd,
        *,
        secrets: Collection[str] = (),
        online: bool = False,
        touches: Collection[object] = (),
        **about: object,
    ) -> Child:
        """Start ``python -m ingestd.<room>``. ``on_end`` is called once, after the last ``on_message``.

        ``touches``: by what names the daemon knows the disks and shares that it goes to; where ``MOST_ABANDONED``
        children hang over one of them, it is not started, and ends as ``unavailable``.
        ``secrets`` are the names of the variables with secrets that it needs; ``online``: it may ask a model hub.
        ``about`` are the fields that log lines about it have: job, batch, sink.
        """
        send, receive = anyio.create_memory_object_stream[msgspec.Struct](float("inf"))
        child = Child(
            room, name, send, of_child(os.environ, secrets, online=online), about=about, touches=frozenset(touches)
        )
        self._tasks.start_soon(self._run, child, receive, on_message, on_end)
        return child

    async def _run(self, child: Child, outbox: Any, on_message: OnMessage, on_end: OnEnd) -> None:
        with anyio.CancelScope(shield=True):  # waited for, or abandoned and reaped later: none stays a zombie
            refusal = self._refusal(child)
            if refusal is not None:
                child.fatal, code = refusal, 1
            else:
                try:
                    code = await self._live(child, outbox, on_message)
                except OSError as error:  # fork failed: too many processes, or no memory
                    child.last_lines.append(str(error))
                    code = 1
            child.outbox.close()
            outbox.close()
            hung = refusal is not None or child.pid in self.abandoned
            child.ending = Ending(code, child.fatal, list(child.last_lines), hung)
            on_end(child.ending)

    def _refusal(self, child: Child) -> Fatal | None:
        """Why it is not started: it would hang beside others."""
        over = [{pid for pid, other in self.abandoned.items() if name in other.touches} for name in child.touches]
        hanging = sorted(set().union(*(pids for pids in over if len(pids) >= MOST_ABANDONED)))
        if not hanging:
            return None
        return Fatal(
            kind="unavailable", operation="start", object=f"another process ({child.name})",
            message=f"processes {', '.join(map(str, hanging))} hang in the kernel already: "
            "a disk or share does not answer them",
            remedy="Bring it back, or unmount it with umount -f",
        )  # fmt: skip

    async def _live(self, child: Child, outbox: Any, on_message: OnMessage) -> int:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await anyio.open_process(
                [
                    sys.executable,
                    "-m",
                    f"ingestd.{child.room}",
                    "--fd",
                    str(theirs.fileno()),
                    "--parent",
                    str(os.getpid()),
                    "--lockdown",
                    self._lockdown,
                ],
                stdin=_DEVNULL,
                env=child.environ,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        child.pid = process.pid
        self.alive[process.pid] = child
        self._on_start(child)
        if child.kill_asked.is_set():
            child.kill()
        ours.setblocking(False)
        code: int | None = None
        patience = anyio.CancelScope()
        async with await UNIXSocketStream.from_socket(ours) as stream, anyio.create_task_group() as tasks:
            tasks.start_soon(self._give_up, child, process, patience, tasks.cancel_scope)
            tasks.start_soon(self._tell, stream, outbox)
            for pipe, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
                if pipe is not None:
                    tasks.start_soon(self._print, child, name, pipe)
            await self._hear(child, stream, on_message)
            code = await self._wait(child, process)
            patience.cancel()
            child.outbox.close()
            # What it printed last is still in the pipes; a grandchild that holds them open is not waited for.
            tasks.cancel_scope.deadline = anyio.current_time() + 1
        del self.alive[process.pid]
        if code is None and process.returncode is None:
            self.abandoned[process.pid] = child
            self._on_abandon(child)
            self._tasks.start_soon(self._reap, process)
            return -signal.SIGKILL
        await process.aclose()  # a grandchild that holds the pipes open does not keep them open here
        return await process.wait()

    async def _give_up(
        self, child: Child, process: Process, patience: anyio.CancelScope, life: anyio.CancelScope
    ) -> None:
        """Once it was killed, end our side of its life when it does not end."""
        with patience:
            await child.kill_asked.wait()
            await anyio.sleep(ABANDON_S)
            if process.returncode is None:
                life.cancel()

    async def _reap(self, process: Process) -> None:
        """The kernel may let it go one day: then it is dead already, and its job may have another one."""
        await process.wait()
        del self.abandoned[process.pid]

    async def _wait(self, child: Child, process: Process) -> int:
        """Its socket has ended, so it is about to exit; one that does not is ended."""
        with anyio.move_on_after(5):
            return await process.wait()
        child.last_lines.append("it closed its socket and went on; it was ended")
        child.kill()
        return await process.wait()

    async def _hear(self, child: Child, stream: UNIXSocketStream, on_message: OnMessage) -> None:
        frames = FrameReader()
        decoder = msgspec.msgpack.Decoder(INCOMING[child.room])
        async for data in _chunks(stream):
            try:
                messages = [decoder.decode(body) for body in frames.feed(data)]
            except (ProtocolError, msgspec.DecodeError) as error:
                child.last_lines.append(f"it sent what is no message: {error}")
                child.kill()
                return
            for message in messages:
                if isinstance(message, Hello):
                    if message.protocol != PROTOCOL:
                        child.last_lines.append(f"it speaks protocol {message.protocol}, the daemon {PROTOCOL}")
                        child.kill()
                        return
                elif isinstance(message, Fatal):
                    child.fatal = message
                elif isinstance(message, Locked):
                    child.locked = message
                else:
                    on_message(message)

    async def _tell(self, stream: UNIXSocketStream, outbox: Any) -> None:
        encoder = msgspec.msgpack.Encoder()
        async for message in outbox:
            try:
                await stream.send(frame(encoder.encode(message)))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # it is gone; its ending says so

    async def _print(self, child: Child, name: str, pipe: ByteReceiveStream) -> None:
        buffer = b""
        async for data in _chunks(pipe):
            *lines, buffer = (buffer + data).split(b"\n")
            buffer = buffer[:MAX_LINE]
            for line in lines:
                self._line(child, name, line)
        if buffer:
            self._line(child, name, buffer)

    def _line(self, child: Child, name: str, line: bytes) -> None:
        text = line[:MAX_LINE].decode("utf-8", "replace").rstrip()
        if not text:
            return
        if name == "stderr":
            child.last_lines.append(text)
        child.lines += 1
        if child.lines < MAX_LINES:
            self._on_line(child, name, text)
        elif child.lines == MAX_LINES:
            self._on_line(child, name, "… it prints more than a log can use; the rest is dropped")


_DEVNULL: Final = -3


async def _chunks(stream: Any) -> AsyncIterator[bytes]:
    """What arrives, until the peer is gone, by whatever name it goes."""
    while True:
        try:
            data = await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        yield data
