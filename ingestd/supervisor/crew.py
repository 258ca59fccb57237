"""The workers' processes, and what the ledger is told of them: spawned, heard, told, ended; outcomes stored."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingestd.ledger import items, jobs
from ingestd.protocol import work
from ingestd.rows import Claimed, Committed, Tally
from ingestd.supervisor import words as w
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.sources import may_be_away

if TYPE_CHECKING:
    from ingestd.supervisor.run import Supervisor


@dataclass(slots=True)
class WorkerHandle:
    """The process behind a ``WorkerView``, and what it reported of itself. ``batch`` is its row in the ledger.

    ``pass_`` is the pass that it is for: it loads the models of that pass alone and is given no other items.
    """

    job: int
    batch: int | None = None
    pass_: int = 0
    child: Child | None = None
    usage: work.Usage | None = None
    killed: bool = False


class Crew:
    """Holds the processes behind the view's workers."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.handles: dict[int, WorkerHandle] = {}

    def spawn(self, worker: int, job: int, *, alone: bool) -> None:
        """Begin a batch: its row first, then its process."""
        handle = self.handles[worker] = WorkerHandle(job)
        now = self._supervisor.clocks.wall_ms()

        def change(db: sqlite3.Connection) -> tuple[int, int]:
            return jobs.begin_batch(db, job, self._supervisor.epoch, now), items.next_pass(db, job, now, alone=alone)

        def begun(value: tuple[int, int]) -> None:
            handle.batch, handle.pass_ = value
            batch = handle.batch
            if handle.killed:
                self._supervisor.post(w.WorkerGone(worker, True, "", "it was not needed any more"))
                return
            name = f"worker {batch}"
            handle.child = self._supervisor.children.start(
                "worker",
                name,
                lambda said: self._said(worker, said),
                lambda end: self._ended(worker, end),
            )
            steps = [row.step for row in self._supervisor.steps[job] if row.step.pass_ == handle.pass_]
            handle.child.send(work.WorkerSetup(steps, self._supervisor.machine(job)))

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
                self._supervisor.paces[handle.job].loaded(handle.pass_)
                self._supervisor.post(w.WorkerReady(worker, batch))

    def _ended(self, worker: int, ending: Ending) -> None:
        handle = self.handles[worker]
        kind = ending.fatal.kind if ending.fatal else ""
        if not ending.clean and not handle.killed:
            batch, lines = handle.batch, ending.last_lines
            self._supervisor.log.warning("worker died", batch=batch, cause=ending.cause(), last_lines=lines)
        self._supervisor.post(w.WorkerGone(worker, ending.clean, kind, ending.cause()))

    def tell(self, worker: int, message: Any) -> None:
        """Send a worker a message; one that is gone gets none."""
        handle = self.handles.get(worker)
        if handle is not None and handle.child is not None:
            handle.child.send(message)

    def kill(self, worker: int, reason: str) -> None:
        """End a worker at once; its items return by ``GiveBack``."""
        handle = self.handles[worker]
        handle.killed = True
        if handle.child is not None:
            self._supervisor.log.info("worker ended", batch=handle.batch, reason=reason)
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
        """Ask what the ledger knows of a hash; the answer comes as ``Looked``."""
        job = self._supervisor.view.workers[command.worker].job
        recipe = self._supervisor.recipes[job]
        future = self._supervisor.ledger.read(lambda db: items.known_content(db, job, recipe, command.sha256))
        self._supervisor.then(future, lambda known: w.Looked(command.worker, command.item, known))

    def store(self, command: w.Store) -> None:
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

        self._supervisor.then(self._supervisor.ledger.write(change), lambda stored: w.Stored(job, *stored))

    def give_back(self, command: w.GiveBack) -> None:
        """End the batch of a worker that is gone and take back what it had."""
        handle = self.handles.pop(command.worker)
        batch, usage, now = handle.batch, handle.usage, self._supervisor.clocks.wall_ms()
        job = command.job
        kind = command.kind if command.kind in ("hang", "oom") else "crash"
        peak, cpu = (usage.peak_bytes, usage.cpu_s) if usage else (None, None)

        def change(db: sqlite3.Connection) -> Tally:
            if batch is not None:
                if command.lost:
                    items.lose(db, job, batch, command.began, command.cause, kind, now)
                else:
                    items.release(db, job, batch)
                outcome = f"died: {command.cause}" if command.lost else "ended"
                jobs.end_batch(db, batch, outcome, command.given, peak, cpu, now)
            return jobs.tally(db, job)

        self._supervisor.then(
            self._supervisor.ledger.write(change), lambda tally: w.Tallied(job, tally, command.worker)
        )
