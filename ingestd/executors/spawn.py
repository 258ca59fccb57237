"""A child as a process of this machine, with a socket pair for its messages and pipes for what it prints.

Children are started from the event loop's own thread, which must be the process's first one: the kernel binds the death
signal that a child asks for to the thread that started it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, Process, TaskGroup, UNIXSocketStream

from ingestd.executors.base import ChildSpec, Ending, OnEnd, OnLine, OnMessages, OnRun
from ingestd.executors.incoming import Incoming, NotUnderstood, Printed
from ingestd.executors.outgoing import Outgoing
from ingestd.lockdown.environment import of_child

ABANDON_S: Final = 5.0
"""Seconds after SIGKILL until a child is given up: the kernel holds it, in a call to a disk or share that is gone."""

EXIT_S: Final = 5.0
"""Seconds in which a child that has closed its socket must exit."""

PRINTED_S: Final = 1.0
"""Seconds for what it printed last, after its end: a grandchild that holds its pipes open is not waited for."""


class Spawned:
    """The ``Handle`` of a process. ``facts`` are its ``pid``."""

    def __init__(self, spec: ChildSpec, on_line: OnLine | None) -> None:
        self.spec = spec
        self.facts: dict[str, object] = {}
        self.ending: Ending | None = None
        self.lingers = False
        self.outbox = Outgoing(spec)
        self.messages = Incoming(spec)
        self.lines = Printed(on_line)
        self.reason = ""
        self.kill_asked = anyio.Event()
        self._pid: int | None = None

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message."""
        self.outbox.put(message)

    def kill(self, reason: str = "") -> None:
        """SIGKILL to its whole process group, at once; where it has not begun, as soon as it has."""
        if self.ending is None:
            if not self.kill_asked.is_set():
                self.reason = reason
                self.kill_asked.set()
            self._signal()

    def runs(self, pid: int) -> None:
        """The process exists."""
        self._pid = pid
        self.facts["pid"] = pid
        if self.kill_asked.is_set():
            self._signal()

    def _signal(self) -> None:
        if self._pid is not None:
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # it ended by itself just now; macOS says the latter then
                pass


class SpawnExecutor:
    """Starts processes, each watched by a task of ``tasks``. ``abandon_s``: see ``ABANDON_S``.

    The task of a child cannot be cancelled: it ends when the child has ended or was given up. So whoever leaves
    ``tasks`` kills the children first. Only the wait for children that were given up can be cancelled.
    """

    def __init__(self, tasks: TaskGroup, *, abandon_s: float | None = None) -> None:
        self._tasks = tasks
        self._abandon_s = ABANDON_S if abandon_s is None else abandon_s

    def start(
        self,
        spec: ChildSpec,
        on_messages: OnMessages,
        on_end: OnEnd,
        *,
        on_run: OnRun | None = None,
        on_line: OnLine | None = None,
    ) -> Spawned:
        """Start ``python -m MODULE``."""
        child = Spawned(spec, on_line)
        self._tasks.start_soon(self._run, child, on_messages, on_end, on_run)
        return child

    async def _run(self, child: Spawned, on_messages: OnMessages, on_end: OnEnd, on_run: OnRun | None) -> None:
        with anyio.CancelScope(shield=True):  # waited for, or abandoned and reaped later: none stays a zombie
            try:
                code = await self._live(child, on_messages, on_run)
            except OSError as error:  # fork failed: too many processes, or no memory
                child.lines.last.append(str(error))
                code = 1
            child.outbox.close()
            code = child.messages.code(code)
            child.ending = Ending(code, child.messages.fatal, list(child.lines.last), child.lingers, child.reason)
            on_end(child.ending)

    async def _live(self, child: Spawned, on_messages: OnMessages, on_run: OnRun | None) -> int:
        """Its whole life; the exit code."""
        process, stream = await _spawn(child.spec)
        child.runs(process.pid)
        if on_run is not None:
            on_run()
        code: int | None = None
        waiting = anyio.CancelScope()
        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(self._give_up, child, process, waiting, tasks.cancel_scope)
            tasks.start_soon(_tell, child, stream)
            for pipe, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
                if pipe is not None:
                    tasks.start_soon(_print, child, name, pipe)
            await _hear(child, stream, on_messages)
            code = await _exit(child, process)
            waiting.cancel()
            child.outbox.close()
            tasks.cancel_scope.deadline = anyio.current_time() + PRINTED_S
        if code is None and process.returncode is None:
            child.lingers = True
            self._tasks.start_soon(self._reap, child, process)
            return -signal.SIGKILL
        await process.aclose()  # a grandchild that holds the pipes open does not keep them open here
        return await process.wait()

    async def _give_up(
        self, child: Spawned, process: Process, waiting: anyio.CancelScope, life: anyio.CancelScope
    ) -> None:
        """Once it was killed, end our side of its life when it does not end."""
        with waiting:
            await child.kill_asked.wait()
            await anyio.sleep(self._abandon_s)
            if process.returncode is None:
                life.cancel()

    async def _reap(self, child: Spawned, process: Process) -> None:
        """The kernel may let it go one day."""
        await process.wait()
        child.lingers = False


async def _spawn(spec: ChildSpec) -> tuple[Process, UNIXSocketStream]:
    """The process and our end of its socket. Raises ``OSError``."""
    ours, theirs = socket.socketpair()
    words = ["--fd", str(theirs.fileno()), "--parent", str(os.getpid()), "--lockdown", spec.lockdown]
    try:
        with theirs:
            process = await anyio.open_process(
                [sys.executable, "-m", spec.module, *words],
                stdin=subprocess.DEVNULL,
                env=of_child(os.environ, spec.secrets, online=spec.online),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    ours.setblocking(False)
    return process, await UNIXSocketStream.from_socket(ours)


async def _hear(child: Spawned, stream: UNIXSocketStream, on_messages: OnMessages) -> None:
    """Pass on its messages until its socket ends."""
    async for data in _chunks(stream):
        try:
            child.messages.feed(data, on_messages)
        except NotUnderstood as why:
            child.kill(str(why))
            return


async def _tell(child: Spawned, stream: UNIXSocketStream) -> None:
    while frames := await child.outbox.take():
        for data in frames:
            try:
                await stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # it is gone; its ending says so


async def _exit(child: Spawned, process: Process) -> int:
    """Its socket has ended, so it is about to exit; one that does not is ended."""
    with anyio.move_on_after(EXIT_S):
        return await process.wait()
    child.kill("it closed its socket and went on; it was ended")
    return await process.wait()


async def _print(child: Spawned, name: str, pipe: ByteReceiveStream) -> None:
    async for data in _chunks(pipe):
        child.lines.feed(name, data)
    child.lines.end(name)


async def _chunks(stream: Any) -> AsyncIterator[bytes]:
    """What arrives, until the peer is gone, by whatever name it goes."""
    while True:
        try:
            data = await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        yield data
