"""Plays the daemon to one real worker: gives items, answers hashes, collects outcomes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ingestd.protocol.work import (
    Began,
    FromWorker,
    Hashed,
    Hello,
    Machine,
    Outcome,
    Ready,
    Stat,
    Step,
    Usage,
    Verdict,
    Work,
    WorkerSetup,
)
from tests.childkit import Child, running

META_STEP = Step(0, "meta", "0" * 64, {"model": "builtin"})
WINDOW = 32


def stat_of(path: Path | bytes) -> Stat:
    """The file's state as the walker would have it; zeros when it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return Stat(0, 0, 0, 0)
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


class Worker:
    """A worker that is ready, and what it has said so far."""

    def __init__(self, child: Child, steps: list[Step]) -> None:
        self.child = child
        self.mask = sum(1 << step.bit for step in steps)
        self.began: list[int] = []
        self.hashed: dict[int, Hashed] = {}
        self.outcomes: dict[int, Outcome] = {}
        self.usages: list[Usage] = []
        self.given = 0

    def give(self, item: int, path: Path | bytes, todo: int | None = None) -> None:
        """Send one item of work."""
        self.given = max(self.given, item + 1)
        name = path if isinstance(path, bytes) else os.fsencode(path)
        self.child.send(Work(item, name, stat_of(path), self.mask if todo is None else todo))

    def verdict(self, item: int, action: str, steps: int | None = None) -> None:
        self.child.send(Verdict(item, action, self.mask if steps is None else steps))  # type: ignore[arg-type]

    def note(self, message: object) -> None:
        """Keep what a message says; an item's second outcome is an error."""
        match message:
            case Began(item=item):
                self.began.append(item)
            case Hashed(item=item):
                assert item not in self.hashed, f"item {item} was hashed twice"
                self.hashed[item] = message
            case Outcome(item=item):
                assert item not in self.outcomes, f"item {item} has two outcomes"
                self.outcomes[item] = message
            case Usage():
                self.usages.append(message)
            case other:
                raise AssertionError(f"unexpected {other!r}")

    def until(self, done: Callable[[], bool], *, go: bool = True, timeout: float = 60) -> None:
        """Listen until ``done()``; with ``go``, every hash is answered with it."""
        while not done():
            message = self.child.receive(timeout)
            assert message is not None, f"the worker died ({self.child.wait(5)})"
            self.note(message)
            if go and isinstance(message, Hashed):
                self.verdict(message.item, "go")

    def to_the_end(self) -> int:
        """Listen until the socket ends; the exit code."""
        while (message := self.child.receive(30)) is not None:
            self.note(message)
            if isinstance(message, Hashed):
                self.verdict(message.item, "go")
        return self.child.wait(5)

    def process(self, paths: Iterable[Path | bytes], timeout: float = 60) -> dict[int, Outcome]:
        """Work through ``paths`` as items 0, 1, 2 … with the daemon's window; the outcomes by item."""
        todo = list(paths)
        for item, path in enumerate(todo):
            while len(self.outcomes) <= item - WINDOW:
                self.until(lambda item=item: len(self.outcomes) > item - WINDOW, timeout=timeout)  # type: ignore[misc]
            self.give(item, path)
        self.until(lambda: len(self.outcomes) == len(todo), timeout=timeout)
        return self.outcomes

    def one(self, path: Path | bytes, steps: int | None = None, bodies: dict[str, str] | None = None) -> Outcome:
        """The outcome of one more file; ``bodies`` are results that the ledger has already."""
        item = self.given
        self.give(item, path, steps)
        if steps is not None:
            self.until(lambda: item in self.hashed, go=False)
            self.child.send(Verdict(item, "go", steps, bodies or {}))
        self.until(lambda: item in self.outcomes)
        return self.outcomes[item]


@contextmanager
def worker(
    steps: list[Step] | None = None, cache: Path | None = None, env: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Worker]:  # fmt: skip
    """A worker that has said ``Ready``; the ``meta`` recipe unless ``steps`` says otherwise."""
    steps = steps or [META_STEP]
    with running("ingestd.worker", FromWorker, env, prefix=prefix) as child:
        child.expect(Hello)
        child.send(WorkerSetup(steps, Machine(str(cache or ""))))
        child.expect(Ready)
        yield Worker(child, steps)
