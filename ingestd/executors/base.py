"""The contract between whoever needs a child and the executor that runs it.

A child is a program that is sent messages, answers with messages, and ends. Where it runs is the executor's business:
nothing here says that it is a process of this machine, and nobody acts on what a handle tells for logs.

What an executor promises: messages arrive in the order in which they were sent, both ways. ``on_end`` is called
exactly once, after the last ``on_messages``, and never from within ``start``. A child that was killed ends, whatever it
does. A child that sends what is no message, or speaks another protocol, is ended, and its ``Ending`` says why. What is
sent to a child that has ended is dropped. All callbacks come from the event loop's thread, and cost no task.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from ingestd.protocol.work import Fatal

Lockdown = Literal["auto", "no"]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What is to run.

    ``module`` is run as ``python -m MODULE``; ``name`` is what logs call the child. ``outgoing`` is the union of the
    messages that it may be sent, ``incoming`` that of those that it may send. ``secrets`` are the names of the
    variables with secrets that it needs; it gets no others. ``online``: it may ask a model hub. ``lockdown``: ``auto``
    has it give up what its first message does not call for.
    """

    module: str
    name: str
    outgoing: Any
    incoming: Any
    secrets: frozenset[str] = frozenset()
    online: bool = False
    lockdown: Lockdown = "no"


@dataclass(slots=True)
class Ending:
    """How a child ended. ``code`` is 0 for a clean end, negative for a signal; ``fatal`` is what it said of itself, if
    anything; ``reason`` is why it was ended by us, empty where it was not, or where no reason was given; ``last_lines``
    are those of its stderr.

    ``hung``: a disk or share that does not answer is why. It has not ended, and nobody waits for it any longer; or it
    was not started, because it would hang beside others.
    """

    code: int
    fatal: Fatal | None = None
    last_lines: list[str] = field(default_factory=list)
    hung: bool = False
    reason: str = ""

    @property
    def clean(self) -> bool:
        return self.code == 0

    def cause(self) -> str:
        """One sentence for people: its own account, why it was ended, the signal, or its last line."""
        if self.fatal is not None:
            return f"cannot {self.fatal.operation} {self.fatal.object}: {self.fatal.message}. {self.fatal.remedy}"
        if self.hung:
            return "it hangs in the kernel and cannot be ended: a disk or share that it reads does not answer"
        if self.reason:
            return self.reason
        if self.code < 0:
            return f"it was ended by {signal.Signals(-self.code).name}"
        last = f": {self.last_lines[-1]}" if self.last_lines else ""
        return f"it exited with code {self.code}{last}"


class Handle(Protocol):
    """A child that was started."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What logs and ``status`` may tell of it, such as ``pid``; empty until it runs. Nobody acts on them."""

    @property
    def ending(self) -> Ending | None:
        """None until it has ended."""

    @property
    def lingers(self) -> bool:
        """It was given up (``Ending.hung``), and is still there. It may be gone one day."""

    def send(self, message: msgspec.Struct) -> None:
        """Queue a message; never blocks. Messages that are queued together may travel together.

        Raises ``TypeError`` for one that is not in ``ChildSpec.outgoing``, ``ProtocolError`` for one over the size of
        a frame.
        """

    def kill(self, reason: str = "") -> None:
        """End it now, without asking. Its ``Ending`` has the ``reason``, unless it was ended or killed before."""


OnMessages = Callable[[list[Any]], None]
"""Gets what arrived together, in order: never empty, and never a ``Hello`` or a ``Fatal``."""

OnEnd = Callable[[Ending], None]
OnRun = Callable[[], None]
OnLine = Callable[[str, str], None]
"""Gets the name of the stream (``stdout``, ``stderr``) and a line of what the child printed."""


class Executor(Protocol):
    """Runs children."""

    def start(
        self,
        spec: ChildSpec,
        on_messages: OnMessages,
        on_end: OnEnd,
        *,
        on_run: OnRun | None = None,
        on_line: OnLine | None = None,
    ) -> Handle:
        """Start a child; returns at once. A child that cannot be started ends, with the cause in its ``Ending``.

        ``on_run`` is called once it runs, before the first of its messages: ``Handle.facts`` are known then.
        """
