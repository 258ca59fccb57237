"""A ``Shared`` for one part of the supervisor: a real ledger with one job, and children that are no processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import msgspec
import structlog
from structlog.testing import LogCapture

from ingestd.config import load
from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import jobs
from ingestd.ledger.ledger import Ledger
from ingestd.paths import Places
from ingestd.policy import messages as w
from ingestd.policy.decide import decide
from ingestd.protocol.work import Fatal, Step
from ingestd.records import RootRef
from ingestd.supervisor.children import Child, Children, Ending, Module, OnEnd, OnMessage
from ingestd.supervisor.job_records import JobRecords
from ingestd.supervisor.shared import Posted, Shared
from tests.jobkit import job_spec

SOON_S = 20.0
STEPS = [Step(0, "meta", "meta-1", {}), Step(1, "embed", "embed-1", {"dim": 2})]


@dataclass
class PlayedHandle:
    """A handle to nobody: it keeps what was sent, and why it was killed."""

    sent: list[msgspec.Struct] = field(default_factory=list)
    killed: str | None = None
    ending: Ending | None = None
    lingers: bool = False
    facts: Mapping[str, object] = field(default_factory=lambda: {"pid": 4711})

    def send(self, message: msgspec.Struct) -> None:
        self.sent.append(message)

    def kill(self, reason: str = "") -> None:
        self.killed = self.killed or reason


@dataclass
class Actor:
    """A child that a test plays: ``says`` and ``ends`` are what it does, ``heard`` what it was told."""

    child: Child
    says: OnMessage
    on_end: OnEnd
    handle: PlayedHandle

    def heard(self) -> list[msgspec.Struct]:
        """What it was sent since the last look."""
        found, self.handle.sent = self.handle.sent, []
        return found

    def ends(self, code: int = 0, fatal: Fatal | None = None) -> None:
        """It is gone: by itself, or because it was killed."""
        killed = self.child.kill_asked.is_set()
        self.handle.ending = Ending(-9 if killed else code, fatal, reason=self.handle.killed or "")
        self.on_end(self.handle.ending)


class Actors:
    """In the place of ``Children``: whoever is started waits for the test to play it."""

    def __init__(self) -> None:
        self.started: list[Actor] = []

    def start(
        self, module: Module, name: str, on_message: OnMessage, on_end: OnEnd, *, secrets: Collection[str] = (),
        online: bool = False, touches: Collection[object] = (), **about: object,
    ) -> Child:  # fmt: skip
        handle = PlayedHandle()
        child = Child(name, about, frozenset(touches), handle)
        self.started.append(Actor(child, on_message, on_end, handle))
        return child


class Stage:
    """``shared``, its job, and what its parts have posted and logged."""

    def __init__(self, shared: Shared, actors: Actors, log: LogCapture, job: int) -> None:
        self.shared, self.actors, self.job, self._log = shared, actors, job, log
        self.posted: list[Posted] = []
        self.records = JobRecords(shared)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Take what is posted until ``condition`` holds. Raises what was posted as a defect."""
        with anyio.fail_after(SOON_S):
            while not condition():
                posted = await self.shared.receive(SOON_S)
                if isinstance(posted, BaseException):
                    raise posted
                if callable(posted):
                    posted()
                else:
                    self.posted.append(posted)
                self.shared.handled()

    async def event(self, kind: type[Any]) -> Any:
        """The next event of this kind."""
        await self.until(lambda: any(isinstance(event, kind) for event in self.posted))
        found = next(event for event in self.posted if isinstance(event, kind))
        self.posted.remove(found)
        return found

    async def actor(self) -> Actor:
        """The newest child, once there is one that was not asked for before."""
        await self.stored()
        return self.actors.started[-1]

    async def until_started(self) -> None:
        """Return when a child was started."""
        with anyio.fail_after(SOON_S):
            while not self.actors.started:
                await anyio.lowlevel.checkpoint()

    async def stored(self) -> None:
        """Return when what was written before is durable, and what follows from that has been called."""
        await self.shared.ledger.write(lambda _: None)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()

    def decide(self, event: w.Event) -> list[w.Command]:
        """Change the view as the loop would; performs nothing."""
        return decide(self.shared.view, event, self.shared.now())

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of this kind."""
        return [dict(entry) for entry in self._log.entries if entry["event"] == event]


class StillClocks:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.wall, self.now = 1_700_000_000_000, 1000.0

    def wall_ms(self) -> int:
        return self.wall

    def steady(self) -> float:
        return self.now

    def utc_offset_s(self) -> int:
        return 0


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Set it up below ``folder``, and take it down."""
    for name in ("state", "run", "log"):
        (folder / name).mkdir()
    places = Places(folder / "state", folder / "run", folder / "log", folder / "config.toml")
    clocks, capture, actors = StillClocks(), LogCapture(), Actors()
    log = structlog.wrap_logger(None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    ledger = Ledger(places.ledger, clocks.wall_ms())
    try:
        async with anyio.create_task_group() as tasks:
            epoch = await ledger.write(lambda db: jobs.begin_epoch(db, clocks.wall_ms(), 1, "test"))
            shared = Shared(ledger, places, clocks, log, epoch, load({}, None, ""))
            shared.tasks, shared.children = tasks, cast(Children, actors)

            def add(db: Any) -> int:
                (root,) = jobs.add_roots(db, [(b"/photos", 1, "ext4")])
                row = jobs.add(
                    db, uuid="uuid-1", name="photos", refs=[RootRef(root)], spec=job_spec(),
                    sinks=[SinkSpec("jsonl", "jsonl")], actor="me", now=clocks.wall_ms(),
                )  # fmt: skip
                jobs.resolve(db, row.id, STEPS, {})
                return row.id

            found = Stage(shared, actors, capture, await ledger.write(add))
            await found.records.know(found.job)
            found.decide(await found.event(w.JobKnown))
            try:
                yield found
            finally:
                tasks.cancel_scope.cancel()
                shared._send.close()
                shared._mailbox.close()
    finally:
        ledger.close()
