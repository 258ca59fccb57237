"""What the handlers of verbs share: the supervisor, the jobs, the locks, and the way to stop the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio

from ingestd.config import Settings
from ingestd.control.jobbook import Jobbook
from ingestd.supervisor.loop import Supervisor

MAX_RESOLVING: Final = 4
"""Processes that resolve sources for ``start`` at a time. More requests wait, so that a script that asks for many jobs
at once does not start a process for each."""


@dataclass(slots=True)
class VerbContext:
    """One for the daemon's life; every request gets it.

    ``stop`` shuts the daemon down and returns when no child lives. ``starting`` is held while a job is found or made,
    and while one is marked for removal. ``resolving`` counts the processes that resolve sources. ``started`` is when
    the daemon started, in Unix seconds.
    """

    supervisor: Supervisor
    stop: Callable[[], Awaitable[None]]
    jobbook: Jobbook = field(init=False)
    starting: anyio.Lock = field(init=False, default_factory=anyio.Lock)
    resolving: anyio.Semaphore = field(init=False, default_factory=lambda: anyio.Semaphore(MAX_RESOLVING))
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.jobbook = Jobbook(self.supervisor)
        self.started = self.supervisor.clocks.wall_ms() / 1000

    @property
    def settings(self) -> Settings:
        """The settings in force; a reload replaces them."""
        return self.supervisor.shared.settings
