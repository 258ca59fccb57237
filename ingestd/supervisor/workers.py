"""The workers' processes, and what the ledger is told of them: spawned, heard, told, ended; outcomes stored."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup

from ingestd.ledger import items, jobs
from ingestd.lockdown.environment import of_models
from ingestd.policy import messages as w
from ingestd.protocol import work
from ingestd.protocol.pathtext import shown
from ingestd.records import Claimed, Committed, Tally
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.read_scope import ReadScope, sources
from ingestd.supervisor.sources import may_be_away

if TYPE_CHECKING:
    from ingestd.supervisor.loop import Supervisor


@dataclass(slots=True)
class WorkerHandle:
    """The process behind a ``WorkerView``, and what it reported of itself. ``batch`` is its row in the ledger.

    ``pass_`` is the pass that it is for: it loads the models of that pass alone and is given no other items. ``paths``
    are those of the items in its window. ``sources``: what it may read of its job's.
    """

    job: int
    batch: int | None = None
    pass_: int = 0
    child: Child | None = None
    usage: work.Usage | None = None
    killed: bool = False
    paths: dict[int, bytes] = field(default_factory=dict)
    sources: list[bytes] = field(default_factory=list)

    @property
    def traces(self) -> dict[str, object]:
        """The fields of log lines about it."""
        return self.child.traces if self.child else {"batch": self.batch}


class Workers:
    """Holds the processes behind the view's workers."""

    def __init__(self, supervisor: Supervisor, tasks: TaskGroup) -> None:
        self._supervisor = supervisor
        self.handles: dict[int, WorkerHandle] = {}
        self.read_scope = ReadScope(supervisor, tasks)
        self._told: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def spawn(self, worker: int, job: int, *, alone: bool) -> None:
        """Begin a batch: its row first, then its process."""
        handle = self.handles[worker] = WorkerHandle(job)
        now = self._supervisor.clocks.wall_ms()

        row = self._supervisor.rows[job]

        def change(db: sqlite3.Connection) -> tuple[int, int, list[bytes]]:
            batch = jobs.begin_batch(db, job, self._supervisor.epoch, now)
            return batch, items.next_pass(db, job, now, alone=alone), sources(db, row)

        def begun(value: tuple[int, int, list[bytes]]) -> None:
            handle.batch, handle.pass_, own = value
            batch = handle.batch
            if handle.killed:
                self._supervisor.post(w.WorkerGone(worker, True, "", "it was not needed any more"))
                return
            name = f"worker {batch}"
            steps = [row.step for row in self._supervisor.steps[job] if row.step.pass_ == handle.pass_]
            handle.child = self._supervisor.children.start(
                "worker",
                name,
                lambda said: self._said(worker, said),
                lambda end: self._ended(worker, end),
                job=self._supervisor.rows[job].name,
                secrets=of_models(str(step.spec.get("model", "")) for step in steps),
                batch=batch,
                touches=[("sources", row.uuid)],
            )
            handle.sources = self.read_scope.of(job, own)
            handle.child.send(work.WorkerSetup(steps, self._supervisor.machine(job), handle.sources))

        self._supervisor.then(self._supervisor.ledger.write(change), begun)

    def _said(self, worker: int, said: Any) -> None:
        handle = self.handles[worker]
        match said:
            case work.Outcome() if may_be_away(said):
                self._supervisor.sources.doubt(handle.job, worker, said)
            case work.Outcome():
                self._supervisor.post(w.ItemOutcome(worker, said))
            case work.Hashed(item, sha256, stat):
                self._supervisor.post(w.ItemHashed(worker, item, sha256, stat))
            case work.Refused(item):
                self.read_scope.refused(handle.job, worker, handle.paths.get(item, b""), handle.sources)
            case work.Began(item):
                self._supervisor.post(w.ItemBegan(worker, item))
            case work.Usage():
                handle.usage = said
            case work.Ready(ms, batch):
                row, pid = handle.batch, handle.child.pid if handle.child else None
                if row is not None and pid is not None:
                    self._supervisor.then(
                        self._supervisor.ledger.write(lambda db: jobs.batch_ready(db, row, pid, ms)), lambda _: None
                    )
                self._supervisor.log.info("worker ready", **handle.traces, load_ms=round(ms), model_batch=batch)
                self._note_lock(handle)
                self._supervisor.paces[handle.job].loaded(handle.pass_)
                self._supervisor.post(w.WorkerReady(worker, batch))

    def _note_lock(self, handle: WorkerHandle) -> None:
        """What the workers of a job are held to, in the log when it is new."""
        if handle.child is None or (locked := handle.child.locked) is None:
            return
        told = (tuple(locked.force), tuple(locked.missing))
        if self._told.get(handle.job) != told:
            self._told[handle.job] = told
            self._supervisor.log.info(
                "workers locked down", **handle.traces, force=locked.force, missing=locked.missing
            )

    def lock_of(self, worker: int) -> list[str]:
        """What a worker is held to, for ``status``; empty until it is."""
        handle = self.handles.get(worker)
        return handle.child.locked.force if handle and handle.child and handle.child.locked else []

    def _ended(self, worker: int, ending: Ending) -> None:
        handle = self.handles[worker]
        kind = ending.fatal.kind if ending.fatal else ""
        if not ending.clean and not handle.killed:
            view = self._supervisor.view.workers.get(worker)
            suspects = sorted(view.began) if view else []
            self._supervisor.log.warning(
                "worker died", **handle.traces, items=suspects, cause=ending.cause(), last_lines=ending.last_lines
            )
        self._supervisor.post(w.WorkerGone(worker, ending.clean, kind, ending.cause()))

    def tell(self, worker: int, message: Any) -> None:
        """Send a worker a message; one that is gone gets none."""
        handle = self.handles.get(worker)
        if handle is not None and handle.child is not None:
            if isinstance(message, work.Work):
                handle.paths[message.item] = message.path
            handle.child.send(message)

    def kill(self, worker: int, reason: str) -> None:
        """End a worker at once; its items return by ``GiveBack``."""
        handle = self.handles[worker]
        handle.killed = True
        if handle.child is not None:
            self._supervisor.log.info("worker killed", **handle.traces, reason=reason)
            handle.child.kill()

    def pid_of(self, worker: int) -> int | None:
        """The process of a worker, for ``status``."""
        handle = self.handles.get(worker)
        return handle.child.pid if handle and handle.child else None

    def batch_of(self, worker: int) -> int:
        """The batch id of a worker, for ``status``; 0 while it is being begun."""
        handle = self.handles.get(worker)
        return handle.batch or 0 if handle else 0

    def lookup(self, command: w.Lookup) -> None:
        """Ask what the ledger knows of a hash; the answer comes as ``ContentKnown``."""
        job = self._supervisor.view.workers[command.worker].job
        recipe = self._supervisor.recipes[job]
        future = self._supervisor.ledger.read(lambda db: items.known_content(db, job, recipe, command.sha256))
        self._supervisor.then(future, lambda known: w.ContentKnown(command.worker, command.item, known))

    def store(self, command: w.StoreOutcomes) -> None:
        """Commit outcomes and claim what follows them, in one transaction; the answer comes as ``Stored``."""
        job, recipe, now = command.job, self._supervisor.recipes[command.job], self._supervisor.clocks.wall_ms()
        by_worker: dict[int, list[work.Outcome]] = defaultdict(list)
        for worker, outcome in command.outcomes:
            by_worker[worker].append(outcome)
        batches = {worker: self.handles[worker].batch or 0 for worker in by_worker}
        claims = [(claim, self.handles[claim.worker]) for claim in command.claims]

        def change(db: sqlite3.Connection) -> tuple[dict[int, list[Committed]], dict[int, list[Claimed]], Tally]:
            committed = {
                worker: items.commit(db, job, recipe, batches[worker], outcomes, now)
                for worker, outcomes in by_worker.items()
            }
            claimed = {
                claim.worker: items.claim_suspect(db, job, recipe, by.batch or 0, by.pass_)
                if claim.alone
                else items.claim(db, job, recipe, by.batch or 0, by.pass_, claim.limit, now)
                for claim, by in claims
            }
            return committed, claimed, jobs.tally(db, job)

        handles = {worker: self.handles[worker] for worker in by_worker}

        def stored(value: tuple[dict[int, list[Committed]], dict[int, list[Claimed]], Tally]) -> w.Event:
            states = {one.item: one.state for many in value[0].values() for one in many}
            for worker, outcome in command.outcomes:
                handle, state = handles[worker], states.get(outcome.item)
                path = handle.paths.pop(outcome.item, b"")
                if outcome.failures and state is not None:
                    why = outcome.failures[0]
                    self._failed(handle, outcome.item, path, why.kind, why.stage, why.message)
                elif state == "failed" and not outcome.results:
                    self._failed(handle, outcome.item, path, message="a copy of it failed before")
            return w.Stored(job, *value)

        self._supervisor.then(self._supervisor.ledger.write(change), stored)

    def _failed(
        self, handle: WorkerHandle, item: int, path: bytes, kind: str = "", stage: str = "", message: str = ""
    ) -> None:
        # What a model or its server says may quote the description: that is in the ledger, for ``failed`` and ``show``.
        why = {"kind": kind, "stage": stage, "message": "" if stage == "model" else message}
        told = {key: value for key, value in why.items() if value}
        self._supervisor.log.warning("item failed", **handle.traces, item=item, path=shown(path)[0], **told)

    def give_back(self, command: w.GiveBack) -> None:
        """End the batch of a worker that is gone and take back what it had."""
        handle = self.handles.pop(command.worker)
        batch, usage, now = handle.batch, handle.usage, self._supervisor.clocks.wall_ms()
        job = command.job
        kind = command.kind if command.kind in ("hang", "oom") else "crash"
        peak, cpu = (usage.peak_bytes, usage.cpu_s) if usage else (None, None)

        quarantined: list[int] = []

        def change(db: sqlite3.Connection) -> Tally:
            quarantined.clear()
            if batch is not None:
                if command.lost:
                    quarantined.extend(items.lose(db, job, batch, command.began, command.cause, kind, now))
                else:
                    items.release(db, job, batch)
                outcome = f"died: {command.cause}" if command.lost else "ended"
                jobs.end_batch(db, batch, outcome, command.given, peak, cpu, now)
            return jobs.tally(db, job)

        def stored(tally: Tally) -> w.Event:
            ended = "died" if command.lost else "ended"
            self._supervisor.log.info(
                "batch ended", **handle.traces, outcome=ended, given=command.given, peak_bytes=peak, cpu_s=cpu
            )
            for item in quarantined:
                self._failed(handle, item, handle.paths.get(item, b""), kind, "worker", command.cause)
            return w.Tallied(job, tally, command.worker)

        self._supervisor.then(self._supervisor.ledger.write(change), stored)
