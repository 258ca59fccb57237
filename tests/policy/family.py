"""The simulated children: each does its next thing when it is told to, and nothing by itself."""

from __future__ import annotations

import copy
import sqlite3
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from ingestd.ledger import jobs, scans
from ingestd.policy import messages as w
from ingestd.policy.job_spec import JobSpec
from ingestd.policy.recipe import passes_and_bits
from ingestd.protocol.walk import Entry as ListedEntry, Listing, ScanEnd, WalkError
from ingestd.protocol.work import Failure, Outcome, StepResult
from ingestd.records import Recipe
from tests.policy.parts import DESCRIBE, STEPS, Entry, File, SinkProcess, Walk, Worker


class Family(ABC):
    """Probes, walkers, workers and sinks of a ``World``, which has the ledger and the mailbox."""

    db: sqlite3.Connection
    files: dict[bytes, File]
    specs: dict[int, JobSpec]
    mailbox: deque[w.Event]
    probes: set[int]
    walks: dict[int, Walk]
    workers: dict[int, Worker]
    sinks: dict[tuple[int, str], SinkProcess]
    runs: Counter[tuple[bytes, int]]
    moved_in_flight: set[int]
    root: int
    kills: int
    away: bool

    @property
    @abstractmethod
    def ms(self) -> int:
        """Unix milliseconds of the simulated clock."""

    @abstractmethod
    def recipe(self, job: int) -> Recipe:
        """A job's steps as commits need them."""

    @abstractmethod
    def write(self, change: Callable[[], Any], then: Callable[[Any], None] = lambda _: None) -> None:
        """Queue a change of the ledger, and what follows once it is durable."""

    def _probed(self, job: int) -> None:
        self.probes.remove(job)
        spec = self.specs[job]
        steps = passes_and_bits(spec, STEPS + ([DESCRIBE] if spec.ask("describe") else []))
        self.write(lambda: jobs.resolve(self.db, job, steps, {}), lambda _: self.mailbox.append(w.Resolved(job)))

    def _walk_on(self, job: int) -> None:
        """The walker lists everything in one message, or ends."""
        walk = self.walks[job]
        if not walk.listed and not walk.interrupted and not self.away:
            walk.listed = True
            listing = self._listing(job, walk.limit)
            self.write(
                lambda: (scans.apply(self.db, job, walk.scan, self.recipe(job), listing, self.ms),
                         jobs.tally(self.db, job))[1],
                lambda tally: self.mailbox.append(w.Tallied(job, tally)),
            )  # fmt: skip
            return
        errors = [WalkError(b"/photos", "it is away", True)] if self.away and not walk.listed else []
        report = ScanEnd(not errors, False, 0, {}, errors)
        walk.begun = False

        def change() -> Any:
            counts = scans.end(self.db, job, walk.scan, report, walk.interrupted, self.ms)
            return counts, jobs.row(self.db, job).rescan, jobs.tally(self.db, job)

        def ended(value: Any) -> None:
            counts, again, tally = value
            self.walks.pop(job, None)
            self.mailbox.append(w.WalkEnded(job, counts, "it is away" if errors else "", tally, again))

        self.write(change, ended)

    def _listing(self, job: int, limit: int | None) -> Listing:
        rows = self.db.execute(
            "SELECT name, id, ctime_ns, state, batch_id IS NOT NULL FROM item WHERE job_id = ? ORDER BY name", (job,)
        )
        known = {bytes(name): rest for name, *rest in rows}
        entries, gone, found = [], [], 0
        for name, file in sorted(self.files.items()):
            row = known.pop(name, None)
            if limit is not None and found >= limit:
                continue
            found += 1
            if row is None:
                entries.append(ListedEntry(name, file.stat))
            elif row[1] != file.version or row[2] == "gone":
                entries.append(ListedEntry(name, file.stat, row[0]))
        for item, _, state, running in known.values():
            if state != "gone":
                gone.append(item)
                if running:
                    self.moved_in_flight.add(item)
        return Listing(self.root, b"", entries, gone, 0)

    def _worker_actions(self, ident: int) -> list[Callable[[], None]]:
        worker = self.workers[ident]
        if not worker.ready:
            return [lambda: self._ready(ident)]
        if worker.draining or (worker.finishing and not worker.items):
            return [lambda: self._exit(ident)]
        movable = [item for item, entry in worker.items.items() if entry.stage in ("queued", "reading", "going")]
        return [lambda item=item: self._advance(ident, item) for item in movable]  # type: ignore[misc]

    def _ready(self, ident: int) -> None:
        self.workers[ident].ready = True
        self.mailbox.append(w.WorkerReady(ident, 4))

    def _exit(self, ident: int) -> None:
        del self.workers[ident]
        self.mailbox.append(w.WorkerGone(ident, True, "", ""))

    def die(self, ident: int) -> None:
        """A worker ends by itself, whatever it was doing."""
        del self.workers[ident]
        self.kills += 1
        self.mailbox.append(w.WorkerGone(ident, False, "", "it was ended by SIGSEGV"))

    def _advance(self, ident: int, item: int) -> None:
        """The worker does the next thing for one item."""
        worker = self.workers[ident]
        entry = worker.items[item]
        if entry.stage == "queued":
            entry.stage = "reading"
            self.mailbox.append(w.ItemBegan(ident, item))
        elif entry.stage == "reading":
            file = self.files.get(entry.work.path.rpartition(b"/")[2])
            entry.file = None if file is None else copy.copy(file)
            if file is None or file.kind == "unreadable":
                failure = Failure(entry.work.todo, "unreadable", "gone", "read")
                self._outcome(ident, Outcome(item, None, None, None, None, None, [], [failure], {}))
            else:
                entry.stage = "asked"
                self.mailbox.append(w.ItemHashed(ident, item, file.sha256, file.stat))
        else:
            self._model(ident, entry)

    def _model(self, ident: int, entry: Entry) -> None:
        file = entry.file
        assert file is not None
        if file.kind == "poison":
            self.die(ident)
            return
        bits = [bit for bit in range(3) if entry.steps >> bit & 1]
        failures = []
        if file.kind == "corrupt":
            failures, bits = [Failure(entry.steps, "corrupt", "not an image", "decode", "", True)], []
        elif file.kind == "half" and 1 in bits:
            failures, bits = [Failure(2, "model", "no", "model", "", True)], [bit for bit in bits if bit != 1]
        for bit in bits:
            self.runs[file.sha256, bit] += 1
        results = [StepResult(bit, b"{}", None) for bit in bits]
        self._outcome(ident, Outcome(
            entry.work.item, file.stat, file.sha256, "JPEG", 1, 1, results, failures, {"read": 1.0}
        ))  # fmt: skip

    def _outcome(self, ident: int, outcome: Outcome) -> None:
        del self.workers[ident].items[outcome.item]
        self.mailbox.append(w.ItemOutcome(ident, outcome))

    def _sink_on(self, key: tuple[int, str]) -> None:
        sink = self.sinks[key]
        if not sink.spoken or (sink.cursor < sink.end and not sink.finishing):
            sink.cursor = min(sink.end, sink.cursor + 7) if sink.spoken else sink.cursor
            sink.spoken = True
            seq, (job, name) = sink.cursor, key
            self.write(
                lambda: jobs.put_cursor(self.db, job, name, seq, ""),
                lambda _: self.mailbox.append(w.SinkDelivered(job, name, seq)),
            )
        else:
            self.end_sink(key, clean=True)

    def end_sink(self, key: tuple[int, str], *, clean: bool) -> None:
        del self.sinks[key]
        self.mailbox.append(w.SinkGone(*key, clean, "", "" if clean else "it was ended by SIGKILL"))
