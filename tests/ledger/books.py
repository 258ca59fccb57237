"""A real ledger in a file, one job in it, and short words for what the daemon does with it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import items, jobs, scans
from ingestd.ledger.ledger import open_writer
from ingestd.protocol.walk import Entry, Listing
from ingestd.protocol.work import Failure, Outcome, Stat, Step, StepResult
from ingestd.records import Claimed, Committed, Recipe, RootRef
from tests.jobkit import job_spec

META, EMBED, DESCRIBE = 1, 2, 4
"""Masks of the three steps. ``describe`` belongs to a second pass."""

STEPS = [Step(0, "meta", "meta-1", {}), Step(1, "embed", "embed-1", {"dim": 2}), Step(2, "describe", "say-1", {}, 1)]


def sha(content: str) -> bytes:
    return hashlib.sha256(content.encode()).digest()


def stat(version: int) -> Stat:
    return Stat(100 + version, version, version, 1)


class Books:
    """The ledger, its job, and a clock that ticks with every look."""

    def __init__(self, path: Path, steps: Sequence[Step] = tuple(STEPS)) -> None:
        self.path = path
        self.db, self.notes = open_writer(path, 1)
        self.db.execute("PRAGMA synchronous = OFF")
        self.clock = 1
        self.epoch = jobs.begin_epoch(self.db, self.now, 1, "test")
        (self.root,) = jobs.add_roots(self.db, [(b"/photos", 1, "ext4")])
        self.job = self.add_job("one", steps)
        self.batch = self.begin_batch()
        self.scan = scans.begin(self.db, self.job, self.now)

    @property
    def now(self) -> int:
        self.clock += 1
        return self.clock

    def add_job(self, name: str, steps: Sequence[Step] = tuple(STEPS)) -> int:
        row = jobs.add(
            self.db, uuid=f"uuid-{name}", name=name, refs=[RootRef(self.root)], spec=job_spec(),
            sinks=[SinkSpec("jsonl", "jsonl")], actor="me", now=self.now,
        )  # fmt: skip
        jobs.resolve(self.db, row.id, list(steps), {})
        return row.id

    def recipe(self, job: int | None = None) -> Recipe:
        return jobs.recipe(jobs.steps(self.db, job or self.job))

    def begin_batch(self, job: int | None = None) -> int:
        return jobs.begin_batch(self.db, job or self.job, self.epoch, self.now)

    # ------------------------------------------------------------------------------------------------------- the walk

    def found(self, *names: bytes, version: int = 1, job: int | None = None, rel: bytes = b"") -> list[int]:
        """New files; returns the ids of their items."""
        entries = [Entry(name, stat(version)) for name in names]
        self.listed(entries, job=job, rel=rel)
        return [self.item(name, job=job) for name in names]

    def listed(
        self, entries: list[Entry], gone: Iterable[int] = (), job: int | None = None, rel: bytes = b""
    ) -> scans.Applied:
        job = job or self.job
        listing = Listing(self.root, rel, entries, list(gone), 0)
        return scans.apply(self.db, job, self.scan, self.recipe(job), listing, self.now)

    def edited(self, item: int, version: int) -> None:
        self.listed([Entry(self.name(item), stat(version), item)])

    def vanished(self, *gone: int) -> None:
        self.listed([], gone)

    # ---------------------------------------------------------------------------------------------- the daemon's part

    def claim(self, limit: int = 100, batch: int | None = None, job: int | None = None) -> list[Claimed]:
        """Of the lowest pass, as a worker that is begun now."""
        job = job or self.job
        pass_ = items.next_pass(self.db, job, self.now, alone=False)
        return items.claim(self.db, job, self.recipe(job), batch or self.batch, pass_, limit, self.now)

    def claim_suspect(self, batch: int) -> list[Claimed]:
        pass_ = items.next_pass(self.db, self.job, self.now, alone=True)
        return items.claim_suspect(self.db, self.job, self.recipe(), batch, pass_)

    def commit(self, *outcomes: Outcome, batch: int | None = None, job: int | None = None) -> list[Committed]:
        job = job or self.job
        return items.commit(self.db, job, self.recipe(job), batch or self.batch, outcomes, self.now)

    def run(self, item: int, content: str, steps: int = META | EMBED, version: int = 1) -> Committed:
        """Claim everything, and commit results of ``steps`` for one item."""
        self.claim()
        return self.commit(made(item, content, steps, version))[0]

    # ------------------------------------------------------------------------------------------------------ its state

    def item(self, name: bytes, job: int | None = None) -> int:
        row = self.db.execute("SELECT id FROM item WHERE name = ? AND job_id = ?", (name, job or self.job)).fetchone()
        return int(row[0])

    def name(self, item: int) -> bytes:
        return bytes(self.db.execute("SELECT name FROM item WHERE id = ?", (item,)).fetchone()[0])

    def state(self, item: int) -> str:
        return str(self.db.execute("SELECT state FROM item WHERE id = ?", (item,)).fetchone()[0])

    def column(self, item: int, name: str) -> int | None:
        (value,) = self.db.execute(f"SELECT {name} FROM item WHERE id = ?", (item,)).fetchone()
        return None if value is None else int(value)

    def feed(self, job: int | None = None) -> dict[bytes, tuple[int, int]]:
        """sha256 → (seq, deleted)."""
        rows = self.db.execute(
            "SELECT sha256, seq, deleted FROM feed JOIN content ON content.id = content_id WHERE job_id = ?",
            (job or self.job,),
        )
        return {digest: (seq, deleted) for digest, seq, deleted in rows}

    def failures(self, item: int) -> list[tuple[int, str]]:
        return self.db.execute(
            "SELECT step_id, kind FROM failure WHERE item_id = ? ORDER BY step_id", (item,)
        ).fetchall()

    def counts(self, job: int | None = None) -> list[tuple[int, int]]:
        """(done, failed) of every step."""
        return [(row.done, row.failed) for row in jobs.steps(self.db, job or self.job)]

    def check_tally(self) -> None:
        """The counters, kept by triggers and by every change, are what the rows say."""
        for job in jobs.rows(self.db):
            tally = jobs.tally(self.db, job.id)
            rows = dict(self.db.execute("SELECT state, count(*) FROM item WHERE job_id = ? GROUP BY state", (job.id,)))
            for state in ("pending", "running", "suspect", "done", "failed", "gone"):
                assert getattr(tally, state) == rows.get(state, 0), (state, tally, rows)
            for step in jobs.steps(self.db, job.id):
                bit = 1 << step.step.bit
                done, failed = self.db.execute(
                    "SELECT coalesce(sum(todo & :bit = 0 AND bad & :bit = 0), 0), coalesce(sum(bad & :bit <> 0), 0)"
                    " FROM item WHERE job_id = :job AND state <> 'gone'",
                    {"bit": bit, "job": job.id},
                ).fetchone()
                assert (step.done, step.failed) == (done, failed), step


def made(item: int, content: str, steps: int, version: int = 1) -> Outcome:
    """What a worker sends of an image whose steps went well."""
    results = [StepResult(bit, b'{"a":1}') for bit in range(3) if steps >> bit & 1]
    return Outcome(item, stat(version), sha(content), "JPEG", 4, 3, results, [], {"read": 2.0, "model": 3.0})


def broken(item: int, content: str | None, steps: int, kind: str = "corrupt", stage: str = "decode") -> Outcome:
    """What a worker sends of one that failed; ``content`` None: it could not be read."""
    failure = Failure(steps, kind, "it failed", stage, "", content is not None)  # type: ignore[arg-type]
    known = (stat(1), sha(content)) if content is not None else (None, None)
    return Outcome(item, *known, None, None, None, [], [failure], {})


@contextmanager
def books(path: Path, steps: Sequence[Step] = tuple(STEPS)) -> Iterator[Books]:
    kept = Books(path / "ledger.db", steps)
    try:
        yield kept
    finally:
        kept.db.close()


def refused(db: sqlite3.Connection, statement: str, *values: object) -> str:
    """The words with which the ledger refuses a statement; fails if it takes it."""
    try:
        db.execute(statement, values)
    except sqlite3.IntegrityError as error:
        return str(error)
    raise AssertionError(f"the ledger took: {statement}")
