"""Performs what ``decide`` returns: the only place where decisions meet processes, the ledger and the clock.

One mailbox, one loop: an event comes out of it, ``decide`` answers with commands, each is started at once and in
order. What takes time (a commit, a child) answers with a later event, so the loop itself never waits for anything.
"""

from __future__ import annotations

import shutil
import sqlite3
from asyncio import Future
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
from anyio.abc import TaskGroup
from structlog.typing import FilteringBoundLogger

from ingestd.config import Settings
from ingestd.host.clocks import Clocks
from ingestd.host.disk import free_bytes
from ingestd.kinds.sinks import SHIPPED, SinkKinds
from ingestd.ledger import jobfiles, jobs, report
from ingestd.ledger.ledger import Ledger
from ingestd.lockdown import environment
from ingestd.paths import Places
from ingestd.policy import messages as w
from ingestd.policy.decide import decide
from ingestd.policy.disk_estimate import AFTER_ITEMS, Estimate, estimate, refusal
from ingestd.policy.pace import Pace
from ingestd.policy.plan import next_wake
from ingestd.policy.recipe import passes_and_bits, requests_of, shown_place
from ingestd.policy.state import JobView, View
from ingestd.protocol import work
from ingestd.protocol.control import RemoveReply
from ingestd.records import Committed, JobRow, Recipe, StepRow, Tally
from ingestd.supervisor.children import Child, Children, Ending
from ingestd.supervisor.power import PowerDesk
from ingestd.supervisor.search import SearchDesk
from ingestd.supervisor.sinks import SinkDesk
from ingestd.supervisor.sources import SourceDesk
from ingestd.supervisor.walks import WalkDesk
from ingestd.supervisor.workers import Crew

T = TypeVar("T")

RECENT_ITEMS: Final = 5
"""Items that ``status`` shows as the newest."""

CLOSE_S: Final = 25.0
"""Seconds for everything to end by itself at a shutdown, or to be abandoned; past it children are killed, and nothing
is lost by that."""


@dataclass
class Supervisor:
    """Owns the view, the mailbox and the handles. Handlers of requests use ``post``, ``until`` and the lookups."""

    ledger: Ledger
    places: Places
    clocks: Clocks
    log: FilteringBoundLogger
    epoch: int
    settings: Settings
    sink_kinds: SinkKinds = field(default_factory=lambda: SHIPPED)
    view: View = field(default_factory=View)
    rows: dict[int, JobRow] = field(default_factory=dict)
    steps: dict[int, list[StepRow]] = field(default_factory=dict)
    recipes: dict[int, Recipe] = field(default_factory=dict)
    paces: dict[int, Pace] = field(default_factory=dict)
    estimates: dict[int, Estimate] = field(default_factory=dict)
    recent: dict[int, deque[tuple[Committed, int]]] = field(default_factory=dict)
    probes: dict[int, Child] = field(default_factory=dict)
    on_change: Callable[[int], None] = lambda job: None
    log_dropped: Callable[[], int] = lambda: 0
    serving: anyio.Event = field(default_factory=anyio.Event)
    files: anyio.Lock = field(default_factory=anyio.Lock)

    def __post_init__(self) -> None:
        self._send, self._mailbox = anyio.create_memory_object_stream[w.Event | BaseException | Callable[[], None]](
            float("inf")
        )
        self._changed = anyio.Event()
        self._given_up = False

    # ------------------------------------------------------------------------------------------------ for its callers

    def post(self, event: w.Event) -> None:
        """Put an event into the mailbox."""
        self._send.send_nowait(event)

    def post_and(self, call: Callable[[], None]) -> None:
        """Call ``call`` once everything that was posted before has been decided."""
        self._send.send_nowait(call)

    async def settled(self) -> None:
        """Return when everything that was posted before has been decided."""
        event = anyio.Event()
        self.post_and(event.set)
        await event.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when ``condition`` holds; it is looked at after every event."""
        while not condition():
            await self._changed.wait()

    async def load(self) -> None:
        """Take every job of the ledger into the view, at the start."""

        def read(db: sqlite3.Connection) -> list[int]:
            return [row.id for row in jobs.rows(db)]

        for job_id in await self.ledger.read(read):
            try:
                await self.keep_job_file(job_id)
            except OSError as error:  # a full disk: the job is in the ledger, and its file is written when it changes
                self.log.warning("job file not written", cause=error.strerror or str(error))
            await self.know(job_id)

    async def know(self, job_id: int) -> None:
        """Read a job (again) from the ledger and tell the view."""

        def read(db: sqlite3.Connection) -> tuple[JobRow, list[StepRow], Tally, dict[str, int]]:
            row, have = jobs.row(db, job_id), jobs.cursors(db, job_id)
            cursors = {sink.name: have[sink.name].seq for sink in row.sinks if sink.name in have}
            return row, jobs.steps(db, job_id), jobs.tally(db, job_id), cursors

        row, steps, tally, cursors = await self.ledger.read(read)
        self.rows[job_id] = row
        if steps or job_id not in self.steps:  # a probe may have been quicker than this reading
            self.steps[job_id] = steps
            self.recipes[job_id] = jobs.recipe(steps)
        self.paces.setdefault(job_id, Pace())
        self.post(w.JobKnown(JobView.of(row, tally, bool(steps), cursors)))

    def forget(self, job_id: int) -> None:
        """A job was removed from the ledger."""
        for kept in (self.rows, self.steps, self.recipes, self.paces, self.estimates, self.recent):
            kept.pop(job_id, None)
        self.crew.read_scope.forget(job_id)
        self.post(w.JobForgotten(job_id))

    # ------------------------------------------------------------------------------------------------------- the loop

    async def run(self, tasks: TaskGroup) -> None:
        """Serve the mailbox until ``close`` is through."""
        self.children = Children(
            tasks, self._child_started, self._child_line, self._child_abandoned, self.settings["lockdown"]
        )
        self.crew = Crew(self, tasks)
        self.walks = WalkDesk(self)
        self.sinks = SinkDesk(self)
        self.search = SearchDesk(self)
        self.sources = SourceDesk(self, tasks)
        self.power = PowerDesk(self.log, self.settings["awake"])
        tasks.start_soon(self.search.keep)
        tasks.start_soon(self.power.keep)
        self.serving.set()
        while True:
            event: w.Event | BaseException | Callable[[], None] = w.Tick()
            with anyio.move_on_after(next_wake(self.view, self.clocks.steady())):
                event = await self._mailbox.receive()
            if isinstance(event, BaseException):
                raise event
            if callable(event):
                event()
            else:
                self._handle(event)
            changed, self._changed = self._changed, anyio.Event()
            changed.set()
            if self._given_up or (self.view.closing and not self.children.alive and not self.view.workers):
                return

    async def close(self) -> None:
        """Wind down: what is in the model finishes, the rest is given back, sinks deliver what they can."""
        self.post(w.Closing())
        self.search.end_idle(0)
        for child in self.probes.values():
            child.kill()
        with anyio.move_on_after(CLOSE_S):
            await self.until(lambda: not self.children.alive and not self.view.workers)
            return
        trouble = self.ledger.trouble
        self.log.warning("not all has ended in time: the rest is killed", pids=sorted(self.children.alive), why=trouble)
        self.children.kill_all()
        # What still waits for a ledger that cannot be written waits in vain: the next start takes it back.
        self._given_up = True
        self.post(w.Tick())

    async def remove(self, row: JobRow) -> RemoveReply:
        """Forget a job that does not run: rows, stores and its file; the user's own files stay."""
        self.post(w.JobRemoving(row.id))
        view = self.view.jobs[row.id]
        await self.until(lambda: view.removing and all(sink.state == "off" for sink in view.sinks.values()))
        await self.until(lambda: self.view.quiet(row.id))
        # The rows last: a removal that a power cut ends is seen in ``status``, and can be asked for again.
        async with self.files:
            jobfiles.forget(self.places.state / "jobs", row.uuid)
        spooled = row.spec.list_file
        others = {other.spec.list_file for other in self.rows.values() if other.id != row.id}
        if spooled and Path(spooled).parent == self.places.state / "spool" and spooled not in others:
            await anyio.to_thread.run_sync(lambda: Path(spooled).unlink(missing_ok=True))
        folder = self.places.state / "sinks" / row.uuid
        steps = [step.step for step in self.steps.get(row.id, [])]
        kept = [shown_place(self.places.state, row, sink, steps, self.sink_kinds) for sink in row.sinks if sink.place]
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
        freed = 0
        while count := await self.ledger.write(lambda db: jobs.remove_page(db, row.id)):
            freed += count
        self.forget(row.id)
        return RemoveReply(row.name, row.uuid, freed, kept)

    async def keep_job_file(self, job: int) -> None:
        """Write ``jobs/<uuid>.json`` as the ledger has the job now: what a lost ledger's job is made again from."""

        def read(db: sqlite3.Connection) -> jobfiles.JobFile | None:
            row = next((row for row in jobs.rows(db) if row.id == job), None)
            return jobfiles.of_job(row, jobs.roots(db, row.roots)) if row else None

        async with self.files:
            file = await self.ledger.write(read)  # after whatever was changed before this call
            view = self.view.jobs.get(job)
            if file is not None and not (view and view.removing):
                await anyio.to_thread.run_sync(jobfiles.keep, self.places.state / "jobs", file)

    def _handle(self, event: w.Event) -> None:
        now = self.clocks.steady()
        self.view.stuck = bool(self.ledger.trouble)
        commands = decide(self.view, event, now)
        if isinstance(event, w.Stored):
            self._note_pace(event, now)
            self._preflight(event.job)
        for command in commands:
            self._perform(command)
        job = getattr(event, "job", None)
        if isinstance(job, int):
            self.on_change(job)

    def _perform(self, command: w.Command) -> None:
        match command:
            case w.SetStatus():
                self._set_status(command)
            case w.Probe(job):
                self._probe(job)
            case w.EndProbe(job):
                if probe := self.probes.get(job):
                    probe.kill()
            case w.Walk(job):
                self.walks.start(job)
            case w.AskSources(job):
                self.sources.ask(job)
            case w.EndWalk(job, at_once):
                self.walks.end(job, at_once=at_once)
            case w.Spawn(worker, job, alone):
                self.crew.spawn(worker, job, alone=alone)
            case w.Send(worker, message):
                self.crew.tell(worker, message)
            case w.Kill(worker, reason):
                self.crew.kill(worker, reason)
            case w.Lookup():
                self.crew.lookup(command)
            case w.Store():
                self.crew.store(command)
            case w.GiveBack():
                self.crew.give_back(command)
            case w.StartSink(job, sink):
                self.sinks.start(job, sink)
            case w.WakeSink(job, sink, seq):
                self.sinks.wake(job, sink, seq)
            case w.EndSink(job, sink, at_once):
                self.sinks.end(job, sink, at_once=at_once)
            case w.Awake(wanted, reason):
                self.power.want(wanted, reason)
            case _:
                raise TypeError(f"no way to perform {command!r}")

    def then(self, future: Future[T], event: Callable[[T], w.Event | None]) -> None:
        """Post the event made of a future's result; a failed change of the ledger is a defect and ends the daemon."""

        def settled(done: Future[T]) -> None:
            if done.cancelled():
                return
            message: w.Event | BaseException | None = done.exception()
            if message is None:
                try:
                    message = event(done.result())
                except Exception as error:  # asyncio would only print it, and the job would stand still for ever
                    message = error
            if message is not None:
                self._send.send_nowait(message)

        future.add_done_callback(settled)

    def _child_started(self, child: Child) -> None:
        self.log.info("child started", **child.traces, child=child.name)

    def _child_abandoned(self, child: Child) -> None:
        self.log.warning("child abandoned: the kernel does not let it end", **child.traces, child=child.name)

    def _child_line(self, child: Child, stream: str, line: str) -> None:
        self.log.info("child output", **child.traces, child=child.name, stream=stream, line=line)

    # ------------------------------------------------------------------------------------------------ jobs and recipes

    def _set_status(self, command: w.SetStatus) -> None:
        view = self.view.jobs[command.job]
        # What a person is to see among the warnings: it has failed, or waits until some trouble is over.
        trouble = command.status == "failed" or (command.status == "waiting" and view.retry_at is not None)
        tell = self.log.warning if trouble else self.log.info
        tell("job status", job=view.name, status=command.status, reason=command.reason, actor=command.actor)
        now = self.clocks.wall_ms()
        status: Any = command.status
        future = self.ledger.write(
            lambda db: jobs.set_status(db, command.job, status, command.reason, command.actor, now)
        )
        self.then(future, lambda _: None)
        self.paces[command.job].interrupted()
        self.on_change(command.job)

    def _probe(self, job: int) -> None:
        spec = self.rows[job].spec
        requests = requests_of(spec)

        def message(said: Any) -> None:
            if isinstance(said, work.Probed):
                steps = passes_and_bits(spec, said.steps)
                future = self.ledger.write(lambda db: jobs.resolve(db, job, steps, said.provenance))
                self.then(future, lambda rows: self._resolved(job, rows))
            elif isinstance(said, work.Fetching):
                self.post(w.Fetched(job, said.model, said.done, said.total))

        def ended(ending: Ending) -> None:
            self.probes.pop(job, None)
            if child.kill_asked.is_set():
                self.post(w.ProbeFailed(job, "ended", ending.cause()))
            elif not ending.clean:
                kind = ending.fatal.kind if ending.fatal else "crash"
                self.log.warning("models not resolved", **child.traces, cause=ending.cause())
                self.post(w.ProbeFailed(job, kind, ending.cause()))

        name = self.rows[job].name
        models = [request.model for request in requests]
        child = self.children.start(
            "worker", f"probe {name}", message, ended, job=name,
            secrets=environment.of_models(models), online=environment.may_fetch(models),
        )  # fmt: skip
        child.send(work.Probe(requests, self.machine(job)))
        self.probes[job] = child

    def machine(self, job: int | None = None) -> work.Machine:
        """What the models of a job may use; without one, those of queries."""
        device = self.rows[job].spec.device if job in self.rows else self.settings["device"]
        concurrency = self.rows[job].spec.concurrency if job in self.rows else int(self.settings["concurrency"])
        return work.Machine(
            str(self.places.state / "scratch" / "models"),
            device=device,
            concurrency=concurrency,
            key_file=self.settings["endpoint_key_file"],
            open_http=self.settings["endpoint_open_http"] == "yes",
        )

    def _resolved(self, job: int, rows: list[StepRow]) -> w.Event:
        self.steps[job] = rows
        self.recipes[job] = jobs.recipe(rows)
        return w.Resolved(job)

    def _preflight(self, job: int) -> None:
        """Once the count is known and some items are through: will the disk hold the rest?"""
        view = self.view.jobs.get(job)
        if view is None:
            return
        tally = view.tally
        known = tally.done + tally.failed >= AFTER_ITEMS and not view.walking and not view.rescan
        if job in self.estimates or not known or view.status != "running":
            return
        sinks = [sink.kind for sink in self.rows[job].sinks]
        free = free_bytes(self.places.state)

        def weighed(size: float) -> w.Event | None:
            found = self.estimates[job] = estimate(tally.open, size, sinks, free, self.sink_kinds)
            self.log.info("preflight", job=view.name, left=tally.open, needed=found.needed, free=found.free)
            if found.fits:
                return None
            del self.estimates[job]  # it is weighed again at its next turn
            return w.DiskShort(job, refusal(found, str(self.places.state)))

        self.estimates[job] = estimate(0, 0.0, sinks, free)
        self.then(self.ledger.browse(lambda db: report.result_bytes(db, job)), weighed)

    def _note_pace(self, event: w.Stored, now: float) -> None:
        done = [one for many in event.committed.values() for one in many]
        if done and (pace := self.paces.get(event.job)):
            pace.committed(len(done), now)
            at = self.clocks.wall_ms()
            self.recent.setdefault(event.job, deque(maxlen=RECENT_ITEMS)).extendleft((one, at) for one in done)
