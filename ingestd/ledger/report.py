"""What people ask about jobs and items, read from the ledger. Read-only; each function is one short transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ingestd.ledger import jobs
from ingestd.ledger.items import ALL_STEPS
from ingestd.ledger.reader import join_path, snapshot
from ingestd.ledger.sql import sql
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import shown
from ingestd.protocol.walk import RootSpec
from ingestd.records import Committed, CursorRow, JobRow, StepRow, Tally

REMEDIES: Final = {
    "unreadable": "Check that the file is there and may be read, then: ingestctl retry",
    "unsupported": "It is no image of a known format; convert it, or leave it",
    "corrupt": "Restore the file from a copy; an edited file is picked up by the next start",
    "too_large": "Make a smaller version of it",
    "empty": "Restore the file from a copy",
    "changed": "It was being written; ingestctl retry when that is over",
    "model": "ingestctl retry; ingestctl failed --json shows the model's own words",
    "crash": "Decoding it ends the process; ingestctl retry after an update",
    "hang": "It takes longer than the deadline; ingestctl retry on a faster machine",
    "oom": "Free memory, then: ingestctl retry",
}


@dataclass(frozen=True, slots=True)
class JobFacts:
    """Everything that the ledger knows of a job for ``status``."""

    row: JobRow
    tally: Tally
    steps: list[StepRow]
    cursors: dict[str, CursorRow]
    sources: list[str]
    scan: c.ScanStatus
    last_failure: c.LastFailure | None
    last_items: list[c.LastItem]


Recent = Mapping[int, Sequence[tuple[Committed, int]]]
"""By job id: items that were committed lately with when (Unix milliseconds), newest first."""


def facts(db: sqlite3.Connection, recent: Recent | None = None) -> list[JobFacts]:
    """Every job, newest first, as one consistent view."""
    with snapshot(db):
        return [_facts(db, row, (recent or {}).get(row.id, ())) for row in reversed(jobs.rows(db))]


def _facts(db: sqlite3.Connection, row: JobRow, recent: Sequence[tuple[Committed, int]]) -> JobFacts:
    tally = jobs.tally(db, row.id)
    return JobFacts(
        row,
        tally,
        jobs.steps(db, row.id),
        jobs.cursors(db, row.id),
        [f"list {row.spec.list_sha256[:8]}"]
        if row.spec.list_sha256
        else [shown(source_path(root))[0] for root in jobs.roots(db, row.roots)],
        _scan(db, row),
        _last_failure(db, tally.last_failed),
        _last_items(db, recent) or _last_done(db, tally),
    )


def source_path(root: RootSpec) -> bytes:
    """The folder, or the one file, that a source is."""
    return root.path if root.only is None else join_path(root.path, b"", root.only)


def _scan(db: sqlite3.Connection, row: JobRow) -> c.ScanStatus:
    found = db.execute(sql("last_scan"), {"job_id": row.id}).fetchone()
    if found is None:
        return c.ScanStatus("owed" if row.rescan else "none", None, None, 0, {}, [])
    started, ended, complete, limited, count, skipped, errors = found
    if ended is None:
        state = "running"
    elif row.rescan:
        state = "owed"
    else:
        state = "limited" if limited else "complete" if complete else "partial"
    return c.ScanStatus(
        state, started / 1000, ended / 1000 if ended else None, count, json.loads(skipped), json.loads(errors)
    )


def item_path(db: sqlite3.Connection, item: int) -> bytes | None:
    """Where an item lies, or None when there is no such item."""
    row = db.execute(sql("item_path"), {"item": item}).fetchone()
    return join_path(*row) if row else None


def _last_failure(db: sqlite3.Connection, item: int | None) -> c.LastFailure | None:
    if item is None or (path := item_path(db, item)) is None:
        return None
    rows = db.execute(sql("item_failures"), {"item": item}).fetchall()
    if not rows:
        return None
    _, kind, message, _, _, _, at = rows[-1]
    text, b64 = shown(path)
    return c.LastFailure(text, kind, message, at / 1000, b64)


def _last_items(db: sqlite3.Connection, recent: Sequence[tuple[Committed, int]]) -> list[c.LastItem]:
    found = []
    for one, at in recent:
        if one.state is not None and (path := item_path(db, one.item)) is not None:
            text, b64 = shown(path)
            found.append(c.LastItem(text, at / 1000, one.state, b64))
    return found


def _last_done(db: sqlite3.Connection, tally: Tally) -> list[c.LastItem]:
    """The newest item of an earlier daemon's life: the ledger keeps one."""
    if tally.last_done is None:
        return []
    return _last_items(db, [(Committed(tally.last_done, "done"), tally.committed or 0)])


def failed_page(
    db: sqlite3.Connection, job_id: int, kind: str | None, after: int, limit: int
) -> tuple[list[c.FailedRow], int | None]:
    """Failed items after item id ``after``, at most ``limit`` rows, and the cursor for the next page."""
    limit = max(1, min(limit, c.PAGE_ROWS))
    names = _step_names(db, job_id)
    rows: list[c.FailedRow] = []
    with snapshot(db):
        while True:
            page = db.execute(sql("failed_page"), {"job_id": job_id, "after": after, "limit": 256}).fetchall()
            for item, _, _ in page:
                found = [row for row in _failures(db, item, names) if kind is None or row.kind == kind]
                if rows and len(rows) + len(found) > limit:
                    return rows, after
                rows += found
                after = item
            if len(page) < 256:
                return rows, None


def _step_names(db: sqlite3.Connection, job_id: int) -> dict[int, str]:
    return {ALL_STEPS: "all"} | {row.id: row.step.name for row in jobs.steps(db, job_id)}


def _failures(db: sqlite3.Connection, item: int, names: dict[int, str]) -> list[c.FailedRow]:
    path = item_path(db, item)
    text, b64 = shown(path or b"")
    return [
        c.FailedRow(
            item,
            text,
            kind,
            message,
            stage,
            names.get(step_id, "?"),
            attempts,
            at / 1000,
            REMEDIES.get(kind, ""),
            detail,
            b64,
        )
        for step_id, kind, message, stage, detail, attempts, at in db.execute(sql("item_failures"), {"item": item})
    ]


def items_at(db: sqlite3.Connection, path: bytes) -> list[tuple[int, int]]:
    """The items at an absolute path, in every job: (item id, job id)."""
    return [(row[0], row[1]) for row in _item_rows(db, path)]


def _item_rows(db: sqlite3.Connection, path: bytes) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for root_id, root in db.execute(sql("all_roots")).fetchall():
        base = root.rstrip(b"/") + b"/"
        if path.startswith(base):
            rel, _, name = path[len(base) :].rpartition(b"/")
            rows += db.execute(sql("items_at"), {"root_id": root_id, "rel": rel, "name": name}).fetchall()
    return rows


def show(db: sqlite3.Connection, path: bytes) -> list[tuple[int, c.ShownItem]]:
    """Everything known of the file at an absolute path, per job: (job id, item)."""
    with snapshot(db):
        names = {row.id: row.name for row in jobs.rows(db)}
        return [(job_id, _shown_item(db, item, job_id, names[job_id], path)) for item, job_id in items_at(db, path)]


def _shown_item(db: sqlite3.Connection, item: int, job_id: int, job: str, path: bytes) -> c.ShownItem:
    key = next(row for row in _item_rows(db, path) if row[0] == item)
    _, _, state, attempts, size, mtime_ns, content_id, *_ = key
    sha256 = fmt = width = height = None
    results: dict[str, Any] = {}
    copies: list[str] = []
    total = 0
    if content_id is not None:
        content = {"content_id": content_id, "job_id": job_id}
        digest, fmt, width, height = db.execute(sql("content_dims"), content).fetchone()
        sha256 = digest.hex()
        for name, fingerprint, body, vector, _ in db.execute(sql("content_results"), content):
            results[name] = json.loads(body) | {"fingerprint": fingerprint}
            if vector is not None:
                results[name]["dim"] = len(vector) // 4
        rows = db.execute(sql("content_paths"), {**content, "limit": 100}).fetchall()
        copies = [shown(other)[0] for row in rows if (other := join_path(*row)) != path]
        (total,) = db.execute(sql("content_paths_count"), content).fetchone()
    text, b64 = shown(path)
    failures = _failures(db, item, _step_names(db, job_id))
    return c.ShownItem(
        job, text, state, attempts, size, mtime_ns / 1e9, sha256, fmt, width, height, results, failures, copies,
        max(0, total - (state != "gone")), b64,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SummaryFacts:
    """The slow part of ``summary``."""

    contents: int
    attempts: int
    active_s: float
    phases: dict[str, c.PhaseTimes]
    failures: dict[str, int]
    batches: c.BatchTotals
    odd: dict[str, int]


def summary(db: sqlite3.Connection, job_id: int, now: int) -> SummaryFacts:
    """Totals of a job; reads every item row, so it runs beside the quick answers."""
    key = {"job_id": job_id}
    with snapshot(db):
        (contents,) = db.execute(sql("contents_total"), key).fetchone()
        (attempts,) = db.execute(sql("attempts_total"), key).fetchone()
        *batches, lived_ms = db.execute(sql("batch_totals"), {**key, "now": now}).fetchone()
        failures = failures_by_kind(db, job_id)
        odd = dict(db.execute(sql("odd_by_flag"), key).fetchall())
        odd = dict(db.execute(sql("odd_by_flag"), key).fetchall())
        buckets: dict[str, list[tuple[int, int, float, float, float]]] = {}
        for phase, *values in db.execute(sql("timings"), key):
            buckets.setdefault(phase, []).append(tuple(values))
    phases = {phase: phase_times(rows) for phase, rows in buckets.items()}
    return SummaryFacts(contents, attempts, lived_ms / 1000, phases, failures, c.BatchTotals(*batches), odd)


def result_bytes(db: sqlite3.Connection, job_id: int) -> float:
    """Mean bytes of an item's results, from the newest hundred or so."""
    return float(db.execute(sql("result_bytes"), {"job_id": job_id}).fetchone()[0])


def failures_by_kind(db: sqlite3.Connection, job_id: int) -> dict[str, int]:
    """Failed items by the kind of their failure, most first."""
    return dict(db.execute(sql("failures_by_kind"), {"job_id": job_id}).fetchall())


def phase_times(rows: list[tuple[int, int, float, float, float]]) -> c.PhaseTimes:
    """Quantiles of a histogram given as (bucket, n, sum, min, max), in order of buckets.

    A quantile is the geometric middle of its bucket, held between the smallest and largest value seen.
    """
    n = sum(row[1] for row in rows)
    low, high = min(row[3] for row in rows), max(row[4] for row in rows)

    def quantile(part: float) -> float:
        seen = 0
        for bucket, count, *_ in rows:
            seen += count
            if seen >= part * n:
                return float(min(max(2 ** ((bucket + 0.5) / 4), low), high))
        return high

    return c.PhaseTimes(n, sum(row[2] for row in rows) / n, quantile(0.5), quantile(0.99), low, high)
