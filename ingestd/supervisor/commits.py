"""What the ledger is told of the workers' items: looked up, committed, claimed, given back."""

from __future__ import annotations

import sqlite3
from collections import defaultdict, deque
from typing import Final

from ingestd.ledger import items, jobs
from ingestd.policy import messages as w
from ingestd.policy.notices import BatchEnded, ItemFailed
from ingestd.protocol import work
from ingestd.protocol.pathtext import shown
from ingestd.records import Claimed, Committed, Tally
from ingestd.supervisor.shared import Shared
from ingestd.supervisor.workers import WorkerHandle, Workers

RECENT_ITEMS: Final = 5
"""Items that ``status`` shows as the newest."""


class Commits:
    """Changes the ledger for the workers' sake; each answer comes back as an event."""

    def __init__(self, shared: Shared, workers: Workers) -> None:
        self._shared, self._workers = shared, workers

    def lookup(self, command: w.Lookup) -> None:
        """Ask what the ledger knows of a hash; the answer comes as ``ContentKnown``."""
        s = self._shared
        job = s.view.workers[command.worker].job
        recipe = s.recipes[job]
        future = s.ledger.read(lambda db: items.known_content(db, job, recipe, command.sha256))
        s.then(future, lambda known: w.ContentKnown(command.worker, command.item, known))

    def store(self, command: w.StoreOutcomes) -> None:
        """Commit outcomes and claim what follows them, in one transaction; the answer comes as ``Stored``."""
        s, job = self._shared, command.job
        recipe, now = s.recipes[job], s.clocks.wall_ms()
        by_worker: dict[int, list[work.Outcome]] = defaultdict(list)
        for worker, outcome in command.outcomes:
            by_worker[worker].append(outcome)
        handles = {worker: self._workers.handles[worker] for worker in by_worker}
        batches = {worker: handle.batch or 0 for worker, handle in handles.items()}
        claims = [(claim, self._workers.handles[claim.worker]) for claim in command.claims]

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
            self._note_pace(job, [one for many in value[0].values() for one in many])
            return w.Stored(job, *value)

        s.then(s.ledger.write(change), stored)

    def _note_pace(self, job: int, done: list[Committed]) -> None:
        s = self._shared
        if done and (pace := s.paces.get(job)):
            pace.committed(len(done), s.clocks.steady())
            at = s.clocks.wall_ms()
            s.recent.setdefault(job, deque(maxlen=RECENT_ITEMS)).extendleft((one, at) for one in done)

    def give_back(self, command: w.GiveBack) -> None:
        """End the batch of a worker that is gone and take back what it had."""
        s, job = self._shared, command.job
        handle = self._workers.handles.pop(command.worker)
        batch, usage, now = handle.batch, handle.usage, s.clocks.wall_ms()
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
            s.log.info("batch ended", **handle.traces, outcome=ended, given=command.given, peak_bytes=peak, cpu_s=cpu)
            if s.notices.heard and batch is not None:
                s.notices.post(BatchEnded(*s.about(job), batch, command.lost, command.given, peak, cpu))
            for item in quarantined:
                self._failed(handle, item, handle.paths.get(item, b""), kind, "worker", command.cause)
            return w.Tallied(job, tally, command.worker)

        s.then(s.ledger.write(change), stored)

    def _failed(
        self, handle: WorkerHandle, item: int, path: bytes, kind: str = "", stage: str = "", message: str = ""
    ) -> None:
        # What a model or its server says may quote the description: that is in the ledger, for ``failed`` and ``show``.
        s = self._shared
        message = "" if stage == "model" else message
        why = {"kind": kind, "stage": stage, "message": message}
        told = {key: value for key, value in why.items() if value}
        s.log.warning("item failed", **handle.traces, item=item, path=shown(path)[0], **told)
        if s.notices.heard:
            s.notices.post(ItemFailed(*s.about(handle.job), item, path, kind, stage, message))
