"""Sources asked by a walker child whether they are there: before a job begins, and when its files begin to vanish."""

from __future__ import annotations

from typing import Any, Final

import anyio

from ingestd.errors import Unavailable
from ingestd.ledger import jobs
from ingestd.policy import messages as w
from ingestd.protocol.pathtext import shown
from ingestd.protocol.walk import ResolvedRoot, ResolveRoots, RootsResolved
from ingestd.protocol.work import Outcome
from ingestd.supervisor.children import Ending
from ingestd.supervisor.shared import Shared

ROOTS_S: Final = 10.0
"""Seconds for a source to answer: a dead mount never does."""

_AWAY: Final = frozenset(
    {
        "ENOENT",
        "ENOTDIR",
        "EACCES",
        "EPERM",
        "EIO",
        "ENODEV",
        "ENXIO",
        "ENOTCONN",
        "ESTALE",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ETIMEDOUT",
    }
)
"""What reading a file says when it is gone or closed to us, and also when the whole disk, share or root above it is."""


def may_be_away(outcome: Outcome) -> bool:
    """Whether this failure could be its source's and not the file's."""
    return any(failure.kind == "unreadable" and failure.detail in _AWAY for failure in outcome.failures)


class Sources:
    """Asks for roots; holds back failures of files until it is known that their source is there.

    Without this, a disk that is pulled out at work would turn every photo on it into a failed one.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._held_back: dict[int, list[tuple[int, Outcome]]] = {}
        self._asking: set[int] = set()

    async def resolve(self, paths: list[bytes]) -> list[ResolvedRoot]:
        """What ``paths`` mean on this machine now. Raises ``Unavailable`` when that is not said in time."""
        answers: list[RootsResolved] = []
        endings: list[Ending] = []
        ended = anyio.Event()

        def said(message: Any) -> None:
            if isinstance(message, RootsResolved):
                answers.append(message)
            else:
                self._shared.unexpected(child, message)

        def end(ending: Ending) -> None:
            endings.append(ending)
            ended.set()

        child = self._shared.children.start("walker", "roots", said, end, touches=paths)
        child.send(ResolveRoots(paths))
        with anyio.move_on_after(ROOTS_S):
            await ended.wait()
        if answers:
            return answers[0].roots
        child.kill()
        why = endings[0].cause() if endings else f"it did not answer within {ROOTS_S:.0f} seconds"
        raise Unavailable(
            why, operation="read", object=", ".join(shown(path)[0] for path in paths),
            remedy="Check that the disk or the network share is there",
        )  # fmt: skip

    def hold_back(self, job: int, worker: int, outcome: Outcome) -> None:
        """Hold an outcome back until the job's sources have answered."""
        self._held_back.setdefault(job, []).append((worker, outcome))
        self.ask(job)

    def ask(self, job: int) -> None:
        """Post ``SourceLost`` if a job's sources are not there; else the outcomes that were held back."""
        if job not in self._asking:
            self._asking.add(job)
            self._shared.tasks.start_soon(self._check, job)

    async def _check(self, job: int) -> None:
        s = self._shared
        while True:
            held = self._held_back.pop(job, [])
            trouble = await self._trouble(job)
            if trouble:
                # What is held back stays in the windows, and goes back with them when the workers have ended.
                s.post(w.SourceLost(job, f"source offline: {trouble}"))
            else:
                for worker, outcome in held:
                    s.post(w.ItemOutcome(worker, outcome))
            if job not in self._held_back:
                break
        self._asking.discard(job)

    async def _trouble(self, job: int) -> str:
        s = self._shared
        if job not in s.rows:
            return ""
        refs = s.rows[job].roots
        try:
            roots = await s.ledger.read(lambda db: jobs.roots(db, refs))
            found = await self.resolve([root.path for root in roots])
        except Unavailable as error:
            return error.message
        return next((root.error for root in found if root.error), "")
