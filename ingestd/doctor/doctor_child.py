"""A child asked one question, with a deadline. One that is stuck in the kernel is killed and left behind: the doctor
is gone long before it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import msgspec
from anyio.abc import Process, UNIXSocketStream

from ingestd.errors import IngestError, ProtocolError, Unavailable
from ingestd.lockdown.environment import of_child
from ingestd.protocol.wire import FrameReader, frame
from ingestd.protocol.work import Fatal, Hello

_GONE_S: Final = 0.5
"""Seconds in which a killed child is reaped, if the kernel lets it go at all."""


class Asked:
    """A running child: ``answers`` until it has ended its side, and its last words if it ended badly."""

    def __init__(self, process: Process, stream: UNIXSocketStream, incoming: Any, said: Any) -> None:
        self.process = process
        self._stream = stream
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(incoming)
        self._said = said

    async def send(self, message: msgspec.Struct) -> None:
        """One message, whole."""
        await self._stream.send(frame(msgspec.msgpack.encode(message)))

    async def answers(self) -> AsyncIterator[Any]:
        """What it sends, apart from its hello. Raises ``IngestError`` with its own words where it gives up."""
        frames = FrameReader()
        while True:
            try:
                data = await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
            for message in [self._decoder.decode(body) for body in frames.feed(data)]:
                if isinstance(message, Fatal):
                    kind = Unavailable if message.kind == "unavailable" else IngestError
                    raise kind(
                        message.message, operation=message.operation, object=message.object, remedy=message.remedy
                    )
                if not isinstance(message, Hello):
                    yield message

    def last_line(self) -> str:
        """The last line that it printed."""
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        return str(lines[-1]) if lines else f"it ended with {self.process.returncode} and said nothing"


@asynccontextmanager
async def child(
    module: str, incoming: Any, *, lockdown: str = "no", secrets: Collection[str] = (), online: bool = False
) -> AsyncIterator[Asked]:
    """``python -m MODULE`` as the daemon would start it; it ends with the block. ``incoming``: what it may send."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as said:
        with theirs:
            words = ["--fd", str(theirs.fileno()), "--parent", str(os.getpid()), "--lockdown", lockdown]
            process = await anyio.open_process(
                [sys.executable, "-m", module, *words],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                env=of_child(os.environ, secrets, online=online), start_new_session=True,
            )  # fmt: skip
        ours.setblocking(False)
        async with await UNIXSocketStream.from_socket(ours) as stream:
            try:
                yield Asked(process, stream, incoming, said)
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # it has just ended; macOS says the latter of a zombie
            pass
    with anyio.move_on_after(_GONE_S):
        await process.wait()


async def ask(
    module: str, request: msgspec.Struct, incoming: Any, hear: Callable[[Any], None], *,
    lockdown: str = "no", secrets: Collection[str] = (), online: bool = False,
) -> None:  # fmt: skip
    """One request to a child: ``hear`` gets each answer. Raises ``IngestError`` with its words where it ends badly."""
    async with child(module, incoming, lockdown=lockdown, secrets=secrets, online=online) as asked:
        try:
            await asked.send(request)
            async for answer in asked.answers():
                hear(answer)
        except (ProtocolError, msgspec.DecodeError, anyio.BrokenResourceError):
            raise _strange(module, asked.last_line()) from None
        with anyio.move_on_after(_GONE_S):
            await asked.process.wait()
        if asked.process.returncode:
            raise _strange(module, asked.last_line())


def _strange(module: str, line: str) -> IngestError:
    return IngestError(
        line, operation="ask", object=f"a child process ({module})", remedy="Try again; ingestctl logs may say more"
    )
