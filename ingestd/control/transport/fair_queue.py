"""A queue for each process, and the processes take turns (round robin).

With one queue for all, a script that sends thousands of requests would make every other client wait for all of them.
Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What is queued: the ``pid`` of the client, and the time ``until`` which it waits."""

    @property
    def pid(self) -> int: ...
    @property
    def until(self) -> float: ...


W = TypeVar("W", bound=Waiting)


class FairQueue(Generic[W]):
    """The queues by process. The first process is the next to have its turn."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[W]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, one: W) -> None:
        """Queue ``one`` behind the others of its process; a new process comes behind the other processes."""
        self._queues.setdefault(one.pid, deque()).append(one)
        self._count += 1

    def take(self, accept: Callable[[W], bool], limit: int) -> int:
        """Offer the first of each process in turn to ``accept``; what it accepts leaves the queue.

        Ends when ``limit`` were accepted, or when no process's first is; returns how many were.
        """
        taken = 0
        refused: set[int] = set()
        while taken < limit and (pid := next((pid for pid in self._queues if pid not in refused), None)) is not None:
            if accept(self._queues[pid][0]):
                self._pop(pid)
                if pid in self._queues:
                    self._queues[pid] = self._queues.pop(pid)
                taken += 1
            else:
                refused.add(pid)
        return taken

    def overdue(self, now: float, most: int) -> list[W]:
        """Take out what has waited too long, and what is beyond ``most``: the oldest of the longest queues."""
        out = []
        for pid in list(self._queues):
            while pid in self._queues and self._queues[pid][0].until <= now:
                out.append(self._pop(pid))
        while self._count > most:
            out.append(self._pop(max(self._queues, key=lambda pid: len(self._queues[pid]))))
        return out

    def clear(self) -> list[W]:
        """Take out everything."""
        return [self._pop(pid) for pid in list(self._queues) for _ in range(len(self._queues[pid]))]

    def _pop(self, pid: int) -> W:
        queue = self._queues[pid]
        one = queue.popleft()
        if not queue:
            del self._queues[pid]
        self._count -= 1
        return one
