"""A daemon without a daemon: the real ``decide`` and the real ledger's functions, between simulated children.

``World`` performs commands as ``supervisor.loop`` does, but nothing happens by itself: whatever may happen next (a
commit becomes durable, a worker hashes a file, a walker ends …) is in ``actions()``, and the test chooses. Time is a
number.
What a command must never do is asserted where it is performed; what must always hold, in ``invariants``.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

import msgspec

from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import items, jobs, ledger, scans
from ingestd.policy import messages as w, notices
from ingestd.policy.decide import decide
from ingestd.policy.job_spec import JobSpec
from ingestd.policy.plan import next_wake
from ingestd.policy.state import JobView, Now, View
from ingestd.protocol import work
from ingestd.records import Recipe, RootRef
from tests.jobkit import job_spec
from tests.policy.family import Family
from tests.policy.invariants import check, check_notices
from tests.policy.parts import Entry, File, Handle, Kind, SinkProcess, Walk, Worker


class World(Family):
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

    # ---------------------------------------------------------------------------------------------- the daemon's life

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
        self.awake = False
        self.sinks_away: set[tuple[int, str]] = set()
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

    def at(self, later: float = 0.0) -> Now:
        """The time, or that some seconds later."""
        seconds = self.now + later
        return Now(seconds, 1_700_000_000_000 + round(seconds * 1000), 3600)

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
            self.db.execute("BEGIN")
            try:
                value = change()
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
            return value

        self.writer.append((transaction, then))

    # ----------------------------------------------------------------------------------------------------- the person

    def new_job(self, *, workers: int, batch_size: int, sinks: int, passes: bool, limit: int | None) -> int:
        spec = job_spec(
            describe="smolvlm" if passes else "none",
            embed="builtin",
            batch_size=batch_size,
            workers=workers,
            limit=limit,
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
        row = jobs.row(self.db, job)
        spec = msgspec.structs.replace(row.spec, limit=None, **changes)
        jobs.change_request(self.db, job, spec, list(row.sinks), self.ms)
        self.know(job)
        self.mailbox += [w.MoveRequested(job, "resume", "me"), w.MoveRequested(job, "more", "me")]

    def retry(self, job: int) -> None:
        def change() -> Any:
            count, _ = items.retry(self.db, job, self.recipe(job), 0, None, None)
            return count, jobs.tally(self.db, job)

        def done(value: Any) -> None:
            self.mailbox.append(w.Tallied(job, value[1]))
            if value[0]:
                self.mailbox.append(w.MoveRequested(job, "more", "me"))

        self.write(change, done)

    def put(self, name: bytes, content: int, kind: Kind) -> None:
        """A file is made, replaced, or copied: ``content`` may be that of another file."""
        self.files[name] = File(content, kind, self.ms)

    # ------------------------------------------------------------------------------------------------ what may happen

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
        was = notices.before(self.view, event)
        commands = decide(self.view, event, self.at())
        for command in commands:
            self.perform(command)
        check(self)
        told = notices.of_decision(was, event, commands, self.view, self.at().wall_ms)
        check_notices(self, commands, told)

    def commit(self) -> None:
        change, then = self.writer.popleft()
        then(change())

    def _look(self, number: int) -> None:
        query, then = self.reader.pop(number)
        then(query())

    def sleep(self) -> None:
        """Nothing happens until the loop wakes by itself."""
        self.now += next_wake(self.view, self.at())
        self.handle(w.Tick())

    # --------------------------------------------------------------------------------------------------- the commands

    def perform(self, command: w.Command) -> None:
        match command:
            case w.SetStatus(job, status, reason, actor):
                self.write(lambda: jobs.set_status(self.db, job, status, reason, actor, self.ms))  # type: ignore[arg-type]
            case w.StartProbe(job):
                assert job not in self.probes
                self.probes.add(job)
            case w.EndProbe(job):
                if job in self.probes:
                    self.probes.remove(job)
                    self.mailbox.append(w.ProbeFailed(job, "ended", ""))
            case w.StartWalk(job):
                self._begin_walk(job)
            case w.AskSources():
                pass  # they are there: what this world lets stand still is not its disks
            case w.EndWalk(job):
                if walk := self.walks.get(job):
                    walk.interrupted = True
            case w.Spawn(worker, job, alone):
                self._spawn(worker, job, alone)
            case w.Send(worker, message):
                self._tell(worker, message)
            case w.Kill(worker, _):
                self.handles[worker].killed = True
                if self.workers.pop(worker, None):
                    self.mailbox.append(w.WorkerGone(worker, False, "", "killed"))
            case w.Lookup(worker, item, sha256):
                job = self.view.workers[worker].job
                self.reader.append((
                    lambda: items.known_content(self.db, job, self.recipe(job), sha256),
                    lambda known: self.mailbox.append(w.ContentKnown(worker, item, known)),
                ))  # fmt: skip
            case w.StoreOutcomes():
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
            case w.Awake(wanted):
                assert wanted is not self.awake, "the machine is asked for what it does already"
                self.awake = wanted
            case _:
                raise TypeError(command)

    def _begin_walk(self, job: int) -> None:
        assert job not in self.walks, "two walks of one job at a time"
        walk = self.walks[job] = Walk()

        def begun(scan: int) -> None:
            walk.scan, walk.begun, walk.limit = scan, True, self.specs[job].limit

        self.write(lambda: scans.begin(self.db, job, self.ms), begun)

    def _spawn(self, worker: int, job: int, alone: bool) -> None:
        assert self.view.jobs[job].status == "running"
        handle = self.handles[worker] = Handle(job)

        def change() -> tuple[int, int]:
            pass_ = items.next_pass(self.db, job, self.ms, alone=alone)
            return jobs.begin_batch(self.db, job, self.epoch, self.ms), pass_

        def begun(value: tuple[int, int]) -> None:
            handle.batch, handle.pass_ = value
            if handle.killed:
                self.mailbox.append(w.WorkerGone(worker, True, "", "not needed"))
            else:
                self.workers[worker] = Worker(job)

        self.write(change, begun)

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

    def _store(self, command: w.StoreOutcomes) -> None:
        job, recipe = command.job, self.recipe(command.job)
        by_worker: dict[int, list[work.Outcome]] = defaultdict(list)
        for worker, outcome in command.outcomes:
            by_worker[worker].append(outcome)
        batches = {worker: self.handles[worker].batch or 0 for worker in by_worker}
        claims = [(claim, self.handles[claim.worker]) for claim in command.claims]
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
                claim.worker: items.claim_suspect(self.db, job, recipe, by.batch or 0, by.pass_)
                if claim.alone
                else items.claim(self.db, job, recipe, by.batch or 0, by.pass_, claim.limit, self.ms)
                for claim, by in claims
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

    def quiet(self) -> bool:
        return not (self.workers or self.walks or self.probes)
