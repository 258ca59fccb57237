"""A child asked one question, with a deadline. One that is stuck in the kernel is killed and left behind: the doctor
is gone long before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import anyio
import msgspec

from ingestd.errors import IngestError, Unavailable
from ingestd.executors.base import ChildSpec, Ending, Handle
from ingestd.executors.spawn import SpawnExecutor
from ingestd.protocol.work import Locked

_GONE_S: Final = 0.5
"""Seconds in which a killed child is reaped, if the kernel lets it go at all."""

T = TypeVar("T")


class DoctorChild:
    """A running child: ``answers`` until it has ended, then ``ending``."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ending: Ending | None = None
        self._send, self._answers = anyio.create_memory_object_stream[Any](float("inf"))

    def hear(self, messages: list[Any]) -> None:
        """Keep what has come, for ``answers``."""
        for message in messages:
            self._send.send_nowait(message)

    def end(self, ending: Ending) -> None:
        """It has ended: ``answers`` ends when what came before is taken."""
        self.ending = ending
        self._send.close()

    async def answers(self) -> AsyncIterator[Any]:
        """What it sends, until it ends. Raises ``IngestError`` with its own words where it gives up."""
        async for message in self._answers:
            yield message
        if self.ending is not None and (fatal := self.ending.fatal):
            kind = Unavailable if fatal.kind == "unavailable" else IngestError
            raise kind(fatal.message, operation=fatal.operation, object=fatal.object, remedy=fatal.remedy)

    def last_line(self) -> str:
        """Once it has ended: the last line that it printed on stderr, or how it ended."""
        if self.ending is None:
            return "it has not ended"
        return self.ending.last_lines[-1] if self.ending.last_lines else self.ending.cause()

    def unexpected(self, message: object) -> IngestError:
        """The error for an answer that nobody asked for."""
        return self.strange(f"it answered with {type(message).__name__}, which was not asked for")

    def strange(self, why: str) -> IngestError:
        """The error for a child that does not do what it is for."""
        return IngestError(
            why, operation="ask", object=f"a child process ({self.spec.module})",
            remedy="Try again; ingestctl logs may say more",
        )  # fmt: skip

    def close(self) -> None:
        """Nobody takes answers any more."""
        self._send.close()
        self._answers.close()


@asynccontextmanager
async def child(spec: ChildSpec) -> AsyncIterator[tuple[Handle, DoctorChild]]:
    """A child as the daemon would start it; it ends with the block."""
    asked = DoctorChild(spec)
    failed: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            handle = SpawnExecutor(tasks, abandon_s=_GONE_S).start(spec, asked.hear, asked.end)
            try:
                yield handle, asked
            except Exception as error:  # a task group would wrap it
                failed = error
            finally:
                handle.kill()
                tasks.cancel_scope.cancel()  # it does not wait for what the kernel holds
    finally:
        asked.close()
    if failed is not None:
        raise failed


async def ask(spec: ChildSpec, request: msgspec.Struct, answer: type[T], hear: Callable[[T], None]) -> None:
    """One request to a child: ``hear`` gets each answer, all of them of one type.

    Raises ``IngestError`` with its words where it ends badly, or answers with something else.
    """
    async with child(spec) as (handle, asked):
        handle.send(request)
        async for message in asked.answers():
            if isinstance(message, answer):
                hear(message)
            elif not isinstance(message, Locked):  # what it gave up before it looked is not asked here
                raise asked.unexpected(message)
        if asked.ending is not None and not asked.ending.clean:
            raise asked.strange(asked.ending.reason or asked.last_line())
