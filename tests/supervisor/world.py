"""A daemon without a daemon: the real ``decide`` and the real ledger's functions, between simulated children.

``World`` performs commands as ``run.py`` does, but nothing happens by itself: whatever may happen next (a commit
becomes durable, a worker hashes a file, a walker ends …) is in ``actions()``, and the test chooses. Time is a number.
What a command must never do is asserted where it is performed; what must always hold, in ``check``.
"""

from __future__ import annotations

import copy
import hashlib
import sqlite3
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from ingestd.config import JobSpec, SinkSpec
from ingestd.ledger import items, jobs, ledger, scans
from ingestd.ledger.sql import schema
from ingestd.protocol import work
from ingestd.rows import Recipe, RootRef
from ingestd.supervisor import words as w
from ingestd.supervisor.decide import decide
from ingestd.supervisor.plan import next_wake, plan
from ingestd.supervisor.recipes import passes_and_bits
from ingestd.supervisor.view import WINDOW, JobView, View

Kind = Literal["good", "corrupt", "half", "unreadable", "poison"]
"""``corrupt`` fails at every step, ``half`` at one, ``poison`` ends whatever process runs the model on it."""

STEPS = [work.Step(0, "meta", "meta-1", {}), work.Step(0, "embed", "embed-1", {"dim": 2})]
DESCRIBE = work.Step(0, "describe", "describe-1", {})


@dataclass
class File:
    """``content`` stands for the bytes, ``version`` for the change time."""

    content: int
    kind: Kind
    version: int

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(f"{self.kind} {self.content}".encode()).digest()

    @property
    def stat(self) -> work.Stat:
        return work.Stat(10, self.version, self.version, 1)


@dataclass
class Entry:
    """An item in a simulated worker, as in ``worker.window``."""

    work: work.Work
    stage: Literal["queued", "reading", "asked", "held", "going"] = "queued"
    file: File | None = None
    steps: int = 0


@dataclass
class Worker:
    job: int
    ready: bool = False
    finishing: bool = False
    draining: bool = False
    items: dict[int, Entry] = field(default_factory=dict)


@dataclass
class Handle:
    job: int
    batch: int | None = None
    killed: bool = False


@dataclass
class Walk:
    scan: int = 0
    begun: bool = False
    interrupted: bool = False
    listed: bool = False
    limit: int | None = None


@dataclass
class SinkProcess:
    cursor: int
    end: int
    spoken: bool = False
    finishing: bool = False


class World:
    """One machine: its files, its ledger, its daemon and the daemon's children."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        ledger._create(self.db)
        self.db.execute("PRAGMA foreign_keys = 1")
        (self.root,) = jobs.add_roots(self.db, [(b"/photos", 1, "ext4")])
        self.files: dict[bytes, File] = {}
        self.now = 1000.0
        self.clock = 0
        self.epoch = 0
        self.away = False
        self.kills = 0
        self.runs: Counter[tuple[bytes, int]] = Counter()
        self.moved_in_flight: set[int] = set()
        self.specs: dict[int, JobSpec] = {}
        self.boot()

    # -------------------------------------------------------------------------------------------------- the daemon's life

    def boot(self) -> None:
        """A daemon starts: nothing of an earlier one lives, its ledger does."""
        self.view = View()
        self.mailbox: deque[w.Event] = deque()
        self.writer: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self.reader: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
        self.handles: dict[int, Handle] = {}
        self.workers: dict[int, Worker] = {}
        self.walks: dict[int, Walk] = {}
        self.sinks: dict[tuple[int, str], SinkProcess] = {}
        self.sink_asked: set[tuple[int, str]] = set()
        self.probes: set[int] = set()
        self.moved_in_flight.clear()
        self.epoch = jobs.begin_epoch(self.db, self.ms, 1, "test")
        for row in jobs.rows(self.db):
            self.know(row.id)

    def restart(self, durable: int) -> None:
        """The daemon is killed: of the queued commits the first ``durable`` had reached the disk."""
        for change, _ in list(self.writer)[:durable]:
            change()
        self.kills += 1
        self.boot()

    @property
    def ms(self) -> int:
        self.clock += 1
        return self.clock

    def know(self, job: int) -> None:
        row = jobs.row(self.db, job)
        steps = jobs.steps(self.db, job)
        self.specs[job] = row.spec
        cursors = {name: cursor.seq for name, cursor in jobs.cursors(self.db, job).items()}
        self.mailbox.append(w.JobKnown(JobView.of(row, jobs.tally(self.db, job), bool(steps), cursors)))

    def recipe(self, job: int) -> Recipe:
        return jobs.recipe(jobs.steps(self.db, job))

    def write(self, change: Callable[[], Any], then: Callable[[Any], None] = lambda _: None) -> None:
        def transaction() -> Any:
            with_rollback = self.db
            with_rollback.execute("BEGIN")
            try:
                value = change()
            except BaseException:
                with_rollback.execute("ROLLBACK")
                raise
            with_rollback.execute("COMMIT")
            return value

        self.writer.append((transaction, then))

    # ------------------------------------------------------------------------------------------------------- the person

    def new_job(self, *, workers: int, batch_size: int, sinks: int, passes: bool, limit: int | None) -> int:
        spec = JobSpec(
            describe="smolvlm" if passes else "none", embed="builtin", batch_size=batch_size, workers=workers, limit=limit
        )
        names = [SinkSpec(name, "jsonl") for name in ("a", "b")[:sinks]]
        number = len(self.specs) + 1
        row = jobs.add(
            self.db, uuid=f"uuid-{number}", name=f"job-{number}", refs=[RootRef(self.root)], spec=spec, sinks=names,
            actor="", now=self.ms,
        )  # fmt: skip
        self.know(row.id)
        return row.id

    def again(self, job: int, **changes: Any) -> None:
        """``ingestctl start`` of a known job: stored at once, told through the mailbox like any request."""
        before = self.view.jobs[job].status if job in self.view.jobs else "queued"
        row = jobs.row(self.db, job)
        spec = msgspec.structs.replace(row.spec, limit=None, **changes)
        jobs.change_request(self.db, job, spec, list(row.sinks), self.ms)
        self.know(job)
        self.mailbox.append(w.Asked(job, "resume" if before in ("paused", "waiting") else "more", "me"))

    def retry(self, job: int) -> None:
        def change() -> Any:
            count, _ = items.retry(self.db, job, self.recipe(job), 0, None, None)
            return count, jobs.tally(self.db, job)

        def done(value: Any) -> None:
            self.mailbox.append(w.Tallied(job, value[1]))
            if value[0]:
                self.mailbox.append(w.Asked(job, "more", "me"))

        self.write(change, done)

    def put(self, name: bytes, content: int, kind: Kind) -> None:
        """A file is made, replaced, or copied: ``content`` may be that of another file."""
        self.files[name] = File(content, kind, self.ms)

    # --------------------------------------------------------------------------------------------------- what may happen

    def actions(self) -> list[Callable[[], None]]:
        """Everything that may happen next without a fault, the oldest matters first."""
        found: list[Callable[[], None]] = []
        if self.mailbox:
            found.append(self.deliver)
        if self.writer:
            found.append(self.commit)
        for number in range(len(self.reader)):
            found.append(lambda number=number: self._look(number))  # type: ignore[misc]
        for job in sorted(self.probes):
            found.append(lambda job=job: self._probed(job))  # type: ignore[misc]
        for job, walk in self.walks.items():
            if walk.begun:
                found.append(lambda job=job: self._walk_on(job))  # type: ignore[misc]
        for ident in self.workers:
            found += self._worker_actions(ident)
        for key, sink in self.sinks.items():
            if not sink.spoken or sink.finishing or sink.cursor < sink.end:
                found.append(lambda key=key: self._sink_on(key))  # type: ignore[misc]
        return found

    def deliver(self) -> None:
        """The supervisor's loop takes one event."""
        self.handle(self.mailbox.popleft())

    def handle(self, event: w.Event) -> None:
        for command in decide(self.view, event, self.now):
            self.perform(command)
        self.check()

    def commit(self) -> None:
        change, then = self.writer.popleft()
        then(change())

    def _look(self, number: int) -> None:
        query, then = self.reader.pop(number)
        then(query())

    def sleep(self) -> None:
        """Nothing happens until the loop wakes by itself."""
        self.now += next_wake(self.view, self.now)
        self.handle(w.Tick())

    # ------------------------------------------------------------------------------------------------------ the commands

    def perform(self, command: w.Command) -> None:
        match command:
            case w.SetStatus(job, status, reason, actor):
                self.write(lambda: jobs.set_status(self.db, job, status, reason, actor, self.ms))  # type: ignore[arg-type]
            case w.Probe(job):
                assert job not in self.probes
                self.probes.add(job)
            case w.EndProbe(job):
                if job in self.probes:
                    self.probes.remove(job)
                    self.mailbox.append(w.ProbeFailed(job, "ended", ""))
            case w.Walk(job):
                self._begin_walk(job)
            case w.EndWalk(job):
                if walk := self.walks.get(job):
                    walk.interrupted = True
            case w.Spawn(worker, job):
                self._spawn(worker, job)
            case w.Send(worker, message):
                self._tell(worker, message)
            case w.Kill(worker, _):
                self.handles[worker].killed = True
                if self.workers.pop(worker, None):
                    self.mailbox.append(w.WorkerGone(worker, False, "", "killed"))
            case w.Lookup(worker, item, sha256):
                job = self.view.workers[worker].job
                bits = {ident: bit for bit, ident in self.recipe(job).ids.items()}
                self.reader.append((
                    lambda: items.known_content(self.db, job, bits, sha256),
                    lambda known: self.mailbox.append(w.Looked(worker, item, known)),
                ))  # fmt: skip
            case w.Store():
                self._store(command)
            case w.GiveBack():
                self._give_back(command)
            case w.StartSink(job, sink):
                self._start_sink(job, sink)
            case w.WakeSink(job, sink, seq):
                if process := self.sinks.get((job, sink)):
                    process.end = max(process.end, seq)
            case w.EndSink(job, sink):
                if process := self.sinks.get((job, sink)):
                    process.finishing = True
                else:
                    self.sink_asked.add((job, sink))
            case _:
                raise TypeError(command)

    def _begin_walk(self, job: int) -> None:
        assert job not in self.walks, "two walks of one job at a time"
        walk = self.walks[job] = Walk()

        def begun(scan: int) -> None:
            walk.scan, walk.begun, walk.limit = scan, True, self.specs[job].limit

        self.write(lambda: scans.begin(self.db, job, self.ms), begun)

    def _spawn(self, worker: int, job: int) -> None:
        assert self.view.jobs[job].status == "running"
        handle = self.handles[worker] = Handle(job)

        def begun(batch: int) -> None:
            handle.batch = batch
            if handle.killed:
                self.mailbox.append(w.WorkerGone(worker, True, "", "not needed"))
            else:
                self.workers[worker] = Worker(job)

        self.write(lambda: jobs.begin_batch(self.db, job, self.epoch, self.ms), begun)

    def _tell(self, ident: int, message: Any) -> None:
        worker = self.workers.get(ident)
        if worker is None:
            return
        match message:
            case work.Work(item):
                assert self.view.jobs[worker.job].status == "running", "work was given although the job does not run"
                assert not worker.finishing
                assert not worker.draining
                worker.items[item] = Entry(message)
            case work.Verdict(item, action, steps):
                entry = worker.items.get(item)
                if entry is None or entry.stage not in ("asked", "held"):
                    return
                if action == "go":
                    self._check_go(worker, ident, entry, steps)
                    entry.stage, entry.steps = "going", steps
                elif action == "hold":
                    entry.stage = "held"
                else:
                    del worker.items[item]
            case work.Finish():
                worker.finishing = True
            case work.Drain():
                worker.draining = True
            case _:
                raise TypeError(message)

    def _check_go(self, worker: Worker, ident: int, entry: Entry, steps: int) -> None:
        """Nothing is computed that is known, or that another worker computes at this moment."""
        assert entry.file is not None
        sha256 = entry.file.sha256
        row = self.db.execute("SELECT id FROM content WHERE sha256 = ?", (sha256,)).fetchone()
        done = 0 if row is None else items._result_bits(self.db, worker.job, row[0])
        assert steps, "a verdict to go without a step"
        assert not steps & done, "a result that the ledger has is computed again"
        for other_ident, other in self.workers.items():
            for item, found in other.items.items():
                same = found.stage == "going" and found.file is not None and found.file.sha256 == sha256
                assert not same or (other_ident, item) == (ident, entry.work.item), "one content runs twice at a time"

    def _store(self, command: w.Store) -> None:
        job, recipe = command.job, self.recipe(command.job)
        by_worker: dict[int, list[work.Outcome]] = defaultdict(list)
        for worker, outcome in command.outcomes:
            by_worker[worker].append(outcome)
        batches = {worker: self.handles[worker].batch or 0 for worker in by_worker}
        claims = [(claim, self.handles[claim.worker].batch or 0) for claim in command.claims]
        for claim in command.claims:
            asking = self.view.workers[claim.worker]
            assert asking.state == "ready", f"a claim for a worker that is {asking.state}"
            assert self.view.jobs[asking.job].status == "running"
            assert asking.job == job
            assert claim.alone == asking.alone
            assert 0 < claim.limit <= asking.size

        def change() -> Any:
            committed = {
                worker: items.commit(self.db, job, recipe, batches[worker], outcomes, self.ms)
                for worker, outcomes in by_worker.items()
            }
            claimed = {
                claim.worker: items.claim_suspect(self.db, job, batch)
                if claim.alone
                else items.claim(self.db, job, batch, claim.limit, self.ms)
                for claim, batch in claims
            }
            return committed, claimed, jobs.tally(self.db, job)

        self.write(change, lambda value: self.mailbox.append(w.Stored(job, *value)))

    def _give_back(self, command: w.GiveBack) -> None:
        handle = self.handles.pop(command.worker)
        job = command.job

        def change() -> Any:
            if handle.batch is not None:
                if command.lost:
                    items.lose(self.db, job, handle.batch, command.began, command.cause, "crash", self.ms)
                else:
                    items.release(self.db, job, handle.batch)
                left = self.db.execute("SELECT count(*) FROM item WHERE batch_id = ?", (handle.batch,)).fetchone()
                assert left == (0,)
            return jobs.tally(self.db, job)

        self.write(change, lambda tally: self.mailbox.append(w.Tallied(job, tally, command.worker)))

    def _start_sink(self, job: int, name: str) -> None:
        assert (job, name) not in self.sinks
        self.sink_asked.discard((job, name))

        def begun(value: Any) -> None:
            process = self.sinks[job, name] = SinkProcess(*value)
            process.finishing = (job, name) in self.sink_asked

        self.write(lambda: (jobs.cursors(self.db, job)[name].seq, jobs.tally(self.db, job).feed_seq), begun)

    # ------------------------------------------------------------------------------------------------------- the children

    def _probed(self, job: int) -> None:
        self.probes.remove(job)
        spec = self.specs[job]
        steps = passes_and_bits(spec, STEPS + ([DESCRIBE] if spec.describe != "none" else []))
        self.write(
            lambda: jobs.resolve(self.db, job, steps, {}), lambda _: self.mailbox.append(w.Resolved(job))
        )

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
        errors = [work.WalkError(b"/photos", "it is away", True)] if self.away and not walk.listed else []
        report = work.ScanEnd(not errors, False, 0, {}, errors)
        walk.begun = False

        def change() -> Any:
            paid = scans.end(self.db, job, walk.scan, report, walk.interrupted, self.ms)
            return paid, jobs.row(self.db, job).rescan, jobs.tally(self.db, job)

        def ended(value: Any) -> None:
            paid, owed, tally = value
            self.walks.pop(job, None)
            self.mailbox.append(w.WalkEnded(job, paid, "it is away" if errors else "", tally, owed))

        self.write(change, ended)

    def _listing(self, job: int, limit: int | None) -> work.Listing:
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
                entries.append(work.Entry(name, file.stat))
            elif row[1] != file.version or row[2] == "gone":
                entries.append(work.Entry(name, file.stat, row[0]))
        for item, _, state, running in known.values():
            if state != "gone":
                gone.append(item)
                if running:
                    self.moved_in_flight.add(item)
        return work.Listing(self.root, b"", entries, gone, 0)

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
                failure = work.Failure(entry.work.todo, "unreadable", "gone", "read")
                self._outcome(ident, work.Outcome(item, None, None, None, None, None, [], [failure], {}))
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
            failures, bits = [work.Failure(entry.steps, "corrupt", "not an image", "decode", "", True)], []
        elif file.kind == "half" and 1 in bits:
            failures, bits = [work.Failure(2, "model", "no", "model", "", True)], [bit for bit in bits if bit != 1]
        for bit in bits:
            self.runs[file.sha256, bit] += 1
        results = [work.StepResult(bit, b"{}", None) for bit in bits]
        self._outcome(ident, work.Outcome(
            entry.work.item, file.stat, file.sha256, "JPEG", 1, 1, results, failures, {"read": 1.0}
        ))  # fmt: skip

    def _outcome(self, ident: int, outcome: work.Outcome) -> None:
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

    # -------------------------------------------------------------------------------------------------- what always holds

    def check(self) -> None:
        """The invariants of the view, after every event."""
        view = self.view
        assert sum(job.status == "running" for job in view.jobs.values()) <= 1
        places: Counter[int] = Counter()
        for worker in view.workers.values():
            assert len(worker.window) <= (1 if worker.alone else max(WINDOW, 2 * worker.model_batch))
            assert worker.given <= view.jobs[worker.job].batch_size or worker.given <= self.specs[worker.job].batch_size
            if worker.state in ("starting", "ready"):
                assert view.jobs[worker.job].status == "running", "a worker goes on although its job does not"
            places.update(worker.window.keys() - self.moved_in_flight)
            for flight in worker.window.values():
                if flight.state == "held":
                    assert flight.sha256 in view.owners, "a flight is held and nobody will answer it"
                    assert (worker.id, flight.item) in view.holders[flight.sha256]
        assert all(count == 1 for count in places.values()), "an item is in two windows"
        for sha256, (ident, item) in view.owners.items():
            flight = view.flight(ident, item)
            live = flight is not None and flight.sha256 == sha256
            left = any(found.item == item and found.sha256 == sha256 for found in view.gone.get(ident, []))
            assert live or left, "a hash has an owner that is gone: its copies would wait for ever"
        self._check_time()

    def _check_time(self) -> None:
        """Deciding again changes nothing, and no moment before ``next_wake`` would decide otherwise."""
        wake = next_wake(self.view, self.now)
        assert 0 < wake <= 60.01
        # The loop sleeps at least 10 ms, so it may be late by that.
        for later in (0.0, wake / 2, wake - 0.002) if wake > 0.01 else (0.0,):
            commands = plan(twin(self.view), self.now + later)
            assert not commands, f"{later} s later, without any event: {commands}"

    def drive(self, limit: int = 20_000) -> None:
        """Let everything happen that may, and time pass, until nothing is left to do."""
        idle = 0
        for _ in range(limit):
            if todo := self.actions():
                todo[0]()
                idle = 0
            elif idle > 20 and self.quiet():
                return
            else:
                idle += 1
                self.sleep()
        raise AssertionError(f"no end: {self.view.jobs}, workers {self.view.workers}")

    def drive_some(self, steps: int = 50) -> None:
        """What was posted is decided, and some of what follows from it happens."""
        for _ in range(steps):
            if not (todo := self.actions()):
                break
            todo[0]()

    def quiet(self) -> bool:
        return not (self.workers or self.walks or self.probes)

    def check_end(self) -> None:
        """After ``drive`` with nothing wrong: every job is through, and no promise is left open."""
        view = self.view
        assert not view.workers
        assert not view.buffer
        assert not view.owners
        assert not view.holders
        assert not view.gone
        for job in view.jobs.values():
            assert job.status in ("completed", "stopped"), (job.status, job.reason, job.tally)
            row = jobs.row(self.db, job.id)
            assert row.status == job.status, "the ledger does not say what the view says"
            assert job.tally == jobs.tally(self.db, job.id), "the view's counts are not the ledger's"
            if job.status == "completed":
                assert job.tally.open == 0
                assert not job.lagging
                assert not row.rescan
                self._check_items(job.id)

    def _check_items(self, job: int) -> None:
        limit = self.specs[job].limit
        if limit is None:
            names = {
                bytes(name): (state, sha256)
                for name, state, sha256 in self.db.execute(
                    "SELECT name, state, sha256 FROM item LEFT JOIN content ON content.id = content_id"
                    " WHERE job_id = ? AND state <> 'gone'",
                    (job,),
                )
            }
            assert names.keys() == self.files.keys()
            for name, file in self.files.items():
                state, sha256 = names[name]
                assert state == ("done" if file.kind == "good" else "failed"), (name, file, state)
                if file.kind == "good":
                    assert sha256 == file.sha256


def twin(view: View) -> View:
    """A copy as deep as ``plan`` writes: a real deep copy takes a hundred times as long."""
    found = copy.copy(view)
    found.workers = {ident: copy.copy(worker) for ident, worker in view.workers.items()}
    found.jobs = {}
    for ident, job in view.jobs.items():
        found.jobs[ident] = copy.copy(job)
        found.jobs[ident].slots = dict(job.slots)
        found.jobs[ident].sinks = {name: copy.copy(sink) for name, sink in job.sinks.items()}
    return found


def tally_of(db: sqlite3.Connection, job: int) -> dict[str, int]:
    """The counts by state as the rows have them."""
    return dict(db.execute("SELECT state, count(*) FROM item WHERE job_id = ? GROUP BY state", (job,)))


__all__ = ["World", "schema", "tally_of"]
