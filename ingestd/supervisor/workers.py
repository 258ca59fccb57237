"""The workers' processes: spawned, heard, told and killed. What the ledger is told of them is in ``commits``."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from ingestd.ledger import items, jobs
from ingestd.lockdown.environment import of_models
from ingestd.policy import messages as w
from ingestd.policy.notices import WorkerDied
from ingestd.policy.recipe import declared, secrets_of
from ingestd.protocol import work
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.read_scope import ReadScope, source_paths
from ingestd.supervisor.shared import Shared
from ingestd.supervisor.sources import Sources, may_be_away


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

    def __init__(self, shared: Shared, sources: Sources, read_scope: ReadScope) -> None:
        self._shared, self._sources, self._read_scope = shared, sources, read_scope
        self.handles: dict[int, WorkerHandle] = {}
        self._told: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def spawn(self, worker: int, job: int, *, alone: bool) -> None:
        """Begin a batch: its row first, then its process."""
        s = self._shared
        handle = self.handles[worker] = WorkerHandle(job)
        now, row = s.clocks.wall_ms(), s.rows[job]

        def change(db: sqlite3.Connection) -> tuple[int, int, list[bytes]]:
            batch = jobs.begin_batch(db, job, s.epoch, now)
            return batch, items.next_pass(db, job, now, alone=alone), source_paths(db, row)

        def begun(value: tuple[int, int, list[bytes]]) -> None:
            handle.batch, handle.pass_, own = value
            if handle.killed:
                s.post(w.WorkerGone(worker, True, "", "it was not needed any more"))
                return
            steps = declared((row.step for row in s.steps[job] if row.step.pass_ == handle.pass_), s.step_kinds)
            secrets = {secret for step in steps for secret in secrets_of(step, s.step_kinds)}
            handle.child = s.children.start(
                "worker", f"worker {handle.batch}", lambda said: self._said(worker, said),
                lambda end: self._ended(worker, end), job=s.rows[job].name, batch=handle.batch,
                secrets=of_models(str(step.spec.get("model", "")) for step in steps) | secrets,
                touches=[("sources", row.uuid)],
            )  # fmt: skip
            handle.sources = self._read_scope.of(job, own)
            handle.child.send(work.WorkerSetup(steps, s.machine(job), handle.sources))

        s.then(s.ledger.write(change), begun)

    def _said(self, worker: int, said: Any) -> None:
        s, handle = self._shared, self.handles[worker]
        match said:
            case work.Outcome() if may_be_away(said):
                self._sources.hold_back(handle.job, worker, said)
            case work.Outcome():
                s.post(w.ItemOutcome(worker, said))
            case work.Hashed(item, sha256, stat):
                s.post(w.ItemHashed(worker, item, sha256, stat))
            case work.Refused(item):
                self._read_scope.refused(handle.job, worker, handle.paths.get(item, b""), handle.sources)
            case work.Began(item):
                s.post(w.ItemBegan(worker, item))
            case work.Usage():
                handle.usage = said
            case work.Ready(ms, model_batch):
                self._ready(worker, handle, ms, model_batch)
            case _:
                assert handle.child is not None
                s.unexpected(handle.child, said)

    def _ready(self, worker: int, handle: WorkerHandle, ms: float, model_batch: int) -> None:
        s = self._shared
        row, pid = handle.batch, handle.child.pid if handle.child else None
        if row is not None and pid is not None:
            s.then(s.ledger.write(lambda db: jobs.batch_ready(db, row, pid, ms)), lambda _: None)
        s.log.info("worker ready", **handle.traces, load_ms=round(ms), model_batch=model_batch)
        self._note_lock(handle)
        s.paces[handle.job].loaded(handle.pass_)
        s.post(w.WorkerReady(worker, model_batch))

    def _note_lock(self, handle: WorkerHandle) -> None:
        """What the workers of a job are held to, in the log when it is new."""
        if handle.child is None or (locked := handle.child.locked) is None:
            return
        told = (tuple(locked.force), tuple(locked.missing))
        if self._told.get(handle.job) != told:
            self._told[handle.job] = told
            self._shared.log.info("workers locked down", **handle.traces, force=locked.force, missing=locked.missing)

    def lock_of(self, worker: int) -> list[str]:
        """What a worker is held to, for ``status``; empty until it is."""
        handle = self.handles.get(worker)
        return handle.child.locked.force if handle and handle.child and handle.child.locked else []

    def _ended(self, worker: int, ending: Ending) -> None:
        s, handle = self._shared, self.handles[worker]
        kind = ending.fatal.kind if ending.fatal else ""
        if not ending.clean and not handle.killed:
            view = s.view.workers.get(worker)
            suspects = sorted(view.began) if view else []
            s.log.warning(
                "worker died", **handle.traces, items=suspects, cause=ending.cause(), last_lines=ending.last_lines
            )
            if s.notices.heard:
                about = s.about(handle.job)
                s.notices.post(WorkerDied(*about, handle.batch or 0, kind or "crash", ending.cause(), tuple(suspects)))
        s.post(w.WorkerGone(worker, ending.clean, kind, ending.cause()))

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
            self._shared.log.info("worker killed", **handle.traces, reason=reason)
            handle.child.kill()

    def pid_of(self, worker: int) -> int | None:
        """The process of a worker, for ``status``."""
        handle = self.handles.get(worker)
        return handle.child.pid if handle and handle.child else None

    def batch_of(self, worker: int) -> int:
        """The batch id of a worker, for ``status``; 0 while it is being begun."""
        handle = self.handles.get(worker)
        return handle.batch or 0 if handle else 0
