"""The daemon's children: which are alive, whose they are in the log, and which hang in the kernel. What their messages
mean is decided elsewhere.

Every outside thing (source paths, models, stores) is touched by a child alone. An executor runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import anyio
import msgspec
from anyio.abc import TaskGroup

from ingestd.executors.base import ChildSpec, Ending, Executor, Handle, Lockdown
from ingestd.executors.spawn import SpawnExecutor
from ingestd.protocol.sink import FromSink, ToSink
from ingestd.protocol.walk import FromWalker, ToWalker
from ingestd.protocol.work import Fatal, FromWorker, Locked, ToWorker

__all__ = ["Child", "Children", "Ending"]

Module = Literal["worker", "walker", "sinks"]

SPEAKS: Final[dict[Module, tuple[Any, Any]]] = {
    "worker": (ToWorker, FromWorker),
    "walker": (ToWalker, FromWalker),
    "sinks": (ToSink, FromSink),
}
"""The unions of the messages that a child is sent, and that it sends."""

MOST_ABANDONED: Final = 2
"""Children that may hang in the kernel over one source or store. While so many do, no other one is sent there."""


@dataclass(eq=False, slots=True)
class Child:
    """A child that was started. ``send`` never blocks; ``locked`` is None until it has given up what it does not need.

    ``about`` are the fields that log lines about it have; ``touches`` is what it may come to hang over; ``handle`` is
    None for one that was not started because it would hang.
    """

    name: str
    about: dict[str, object]
    touches: frozenset[object]
    handle: Handle | None = None
    locked: Locked | None = None
    kill_asked: anyio.Event = field(default_factory=anyio.Event)

    @property
    def pid(self) -> int | None:
        """Its process, for logs and ``status``; None until there is one, and where it is no process of this machine."""
        pid = self.handle.facts.get("pid") if self.handle else None
        return pid if isinstance(pid, int) else None

    @property
    def traces(self) -> dict[str, object]:
        """The fields that every log line about it has: whose it is, and its pid."""
        return {**self.about, "pid": self.pid}

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message; what is sent to a child that is gone is dropped."""
        if self.handle is not None:
            self.handle.send(message)

    def kill(self, reason: str = "") -> None:
        """End it at once; its ``Ending`` has the ``reason``, unless it had ended before."""
        self.kill_asked.set()
        if self.handle is not None:
            self.handle.kill(reason)


OnMessage = Callable[[Any], None]
OnEnd = Callable[[Ending], None]
OnLine = Callable[[Child, str, str], None]
OnChild = Callable[[Child], None]


class Children:
    """Starts children; ``on_line`` gets (child, stream name, line) of what they print, ``on_start`` each one that runs,
    ``on_abandon`` each one that cannot be ended. ``lockdown``: ``auto``, or ``no`` to leave them what they may touch.
    ``executor`` runs them: processes of this machine, unless it is given."""

    def __init__(
        self,
        tasks: TaskGroup,
        on_start: OnChild,
        on_line: OnLine,
        on_abandon: OnChild,
        lockdown: str = "auto",
        executor: Executor | None = None,
    ) -> None:
        self._tasks = tasks
        self._on_start = on_start
        self._on_line = on_line
        self._on_abandon = on_abandon
        self._lockdown: Lockdown = "auto" if lockdown == "auto" else "no"
        self._executor = executor or SpawnExecutor(tasks)
        self._abandoned: list[Child] = []
        self.alive: list[Child] = []

    def kill_all(self) -> None:
        """End every child at once."""
        for child in list(self.alive):
            child.kill()

    def start(
        self,
        module: Module,
        name: str,
        on_message: OnMessage,
        on_end: OnEnd,
        *,
        secrets: Collection[str] = (),
        online: bool = False,
        touches: Collection[object] = (),
        **about: object,
    ) -> Child:
        """Start ``python -m ingestd.<module>``. ``on_end`` is called once, after the last ``on_message``.

        ``touches``: by what names the daemon knows the disks and shares that it goes to; where ``MOST_ABANDONED``
        children hang over one of them, it is not started, and ends as ``unavailable``.
        ``secrets`` are the names of the variables with secrets that it needs; ``online``: it may ask a model hub.
        ``about`` are the fields that log lines about it have: job, batch, sink.
        """
        child = Child(name, about, frozenset(touches))
        if (refusal := self._refusal(child)) is not None:
            self._tasks.start_soon(self._refuse, on_end, Ending(1, refusal, hung=True))
            return child

        def on_messages(messages: list[Any]) -> None:
            for message in messages:
                if isinstance(message, Locked):
                    child.locked = message
                else:
                    on_message(message)

        def ended(ending: Ending) -> None:
            self.alive.remove(child)
            if ending.hung:
                self._abandoned.append(child)
                self._on_abandon(child)
            on_end(ending)

        outgoing, incoming = SPEAKS[module]
        spec = ChildSpec(f"ingestd.{module}", name, outgoing, incoming, frozenset(secrets), online, self._lockdown)
        self.alive.append(child)
        child.handle = self._executor.start(
            spec, on_messages, ended,
            on_run=lambda: self._on_start(child), on_line=lambda stream, line: self._on_line(child, stream, line),
        )  # fmt: skip
        return child

    async def _refuse(self, on_end: OnEnd, ending: Ending) -> None:
        on_end(ending)

    def _refusal(self, child: Child) -> Fatal | None:
        """Why it is not started: it would hang beside others."""
        self._abandoned = [other for other in self._abandoned if other.handle is not None and other.handle.lingers]
        over = [[other for other in self._abandoned if name in other.touches] for name in child.touches]
        hanging = sorted({other.pid or 0 for several in over if len(several) >= MOST_ABANDONED for other in several})
        if not hanging:
            return None
        return Fatal(
            kind="unavailable", operation="start", object=f"another process ({child.name})",
            message=f"processes {', '.join(map(str, hanging))} hang in the kernel already: "
            "a disk or share does not answer them",
            remedy="Bring it back, or unmount it with umount -f",
        )  # fmt: skip
