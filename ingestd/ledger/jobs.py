"""Changes and rows of jobs: the recipe, the status, sinks' cursors, batches, epochs."""

from __future__ import annotations

import base64
import json
import sqlite3

import msgspec

from ingestd.kinds.sinks import SinkSpec
from ingestd.kinds.steps import SHIPPED
from ingestd.ledger import items
from ingestd.ledger.sql import sql
from ingestd.policy.job_spec import JobSpec, decode_spec
from ingestd.policy.states import JobStatus
from ingestd.protocol.walk import RootSpec
from ingestd.protocol.work import Step
from ingestd.records import CursorRow, JobRow, Recipe, RootRef, StepRow, Tally


def begin_epoch(db: sqlite3.Connection, now: int, pid: int, version: str) -> int:
    """A daemon start: a new epoch, and everything that earlier ones had in flight is taken back."""
    (epoch,) = db.execute(sql("add_epoch"), {"now": now, "pid": pid, "version": version}).fetchone()
    for job in rows(db):
        items.recover(db, job.id, epoch)
    db.execute(sql("end_lost_batches"), {"now": now, "epoch": epoch})
    db.execute(sql("end_lost_scans"), {"now": now})
    return int(epoch)


def rows(db: sqlite3.Connection) -> list[JobRow]:
    """Every job, oldest first."""
    return [_row(values) for values in db.execute(sql("jobs"))]


def _row(values: tuple[object, ...]) -> JobRow:
    (ident, uuid, name, roots, requested, resolved, sinks, status, reason, actor, until, priority, created, changed,
     rescan) = values  # fmt: skip
    return JobRow(
        ident,  # type: ignore[arg-type]
        str(uuid),
        str(name),
        _decode_roots(str(roots)),
        decode_spec(str(requested)),
        resolved is not None,
        tuple(msgspec.json.decode(str(sinks), type=list[SinkSpec])),
        status,  # type: ignore[arg-type]
        str(reason),
        str(actor),
        until,  # type: ignore[arg-type]
        priority,  # type: ignore[arg-type]
        created,  # type: ignore[arg-type]
        changed,  # type: ignore[arg-type]
        bool(rescan),
    )


def _decode_roots(text: str) -> tuple[RootRef, ...]:
    return tuple(RootRef(ident, base64.b64decode(only) if only else None) for ident, only in json.loads(text))


def _encode_roots(refs: list[RootRef]) -> str:
    return json.dumps([[ref.id, base64.b64encode(ref.only).decode() if ref.only else None] for ref in refs])


def row(db: sqlite3.Connection, job_id: int) -> JobRow:
    """One job. Raises ``KeyError`` when there is none."""
    for job in rows(db):
        if job.id == job_id:
            return job
    raise KeyError(job_id)


def add(
    db: sqlite3.Connection,
    *,
    uuid: str,
    name: str,
    refs: list[RootRef],
    spec: JobSpec,
    sinks: list[SinkSpec],
    actor: str,
    now: int,
) -> JobRow:
    """A new job, queued, with a walk owed."""
    (ident,) = db.execute(
        sql("add_job"),
        {
            "uuid": uuid,
            "name": name,
            "roots": _encode_roots(refs),
            "requested": msgspec.json.encode(spec).decode(),
            "sinks": msgspec.json.encode(sinks).decode(),
            "actor": actor,
            "priority": 0,
            "now": now,
        },
    ).fetchone()
    for sink in sinks:
        db.execute(sql("add_cursor"), {"job_id": ident, "sink": sink.name})
    return row(db, ident)


def change_request(db: sqlite3.Connection, job_id: int, spec: JobSpec, sinks: list[SinkSpec], now: int) -> None:
    """A job was asked for again: store its changed settings; a walk is owed."""
    text = {"requested": msgspec.json.encode(spec).decode(), "sinks": msgspec.json.encode(sinks).decode()}
    db.execute(sql("job_request"), {"job_id": job_id, "now": now, **text})
    names = {sink.name for sink in sinks}
    have = cursors(db, job_id)
    for name in names - have.keys():
        db.execute(sql("add_cursor"), {"job_id": job_id, "sink": name})
    for name in have.keys() - names:
        db.execute(sql("drop_cursor"), {"job_id": job_id, "sink": name})


def set_status(db: sqlite3.Connection, job_id: int, status: JobStatus, reason: str, actor: str, now: int) -> None:
    """Store a job's status; the move itself was checked against ``policy.states.JOB_MOVES``."""
    db.execute(sql("job_status"), {"job_id": job_id, "status": status, "reason": reason, "actor": actor, "now": now})


def resolve(db: sqlite3.Connection, job_id: int, resolved: list[Step], provenance: dict[str, object]) -> list[StepRow]:
    """Store what a job's recipe means on this machine; returns its rows. The first answer stays."""
    if known := steps(db, job_id):
        return known  # a probe that was ended by a pause had answered just before
    seen = json.dumps(provenance)
    for step in resolved:
        spec = {"kind": step.kind, "fingerprint": step.fingerprint, "spec": json.dumps(step.spec), "provenance": seen}
        (step_id,) = db.execute(sql("add_step"), spec).fetchone()
        bit = {"job_id": job_id, "bit": step.bit, "step_id": step_id, "pass": step.pass_, "spec": spec["spec"]}
        db.execute(sql("add_job_step"), {**bit, "name": step.name, "needs": json.dumps(step.needs)})
    db.execute(sql("job_resolved"), {"job_id": job_id, "resolved": seen})
    return steps(db, job_id)


def steps(db: sqlite3.Connection, job_id: int) -> list[StepRow]:
    """A job's recipe, in order of bits; empty until it is resolved."""
    return [
        StepRow(
            Step(bit, kind, fingerprint, json.loads(spec), pass_, name or kind, _needs(kind, needs)),
            ident,
            done,
            failed,
        )
        for bit, kind, fingerprint, spec, pass_, name, needs, done, failed, ident in db.execute(
            sql("job_steps"), {"job_id": job_id}
        )
    ]


def _needs(kind: str, stored: str | None) -> tuple[str, ...]:
    """What a step reads. Before version 3 a step had the name of its kind, and so had what it reads."""
    if stored is not None:
        return tuple(json.loads(stored))
    return SHIPPED[kind].needs if kind in SHIPPED else ()


def recipe(rows_: list[StepRow]) -> Recipe:
    """The steps as commits need them."""
    return Recipe.of((step.step, step.id) for step in rows_)


def tally(db: sqlite3.Connection, job_id: int) -> Tally:
    """A job's counters."""
    return Tally(*db.execute(sql("tally"), {"job_id": job_id}).fetchone())


def cursors(db: sqlite3.Connection, job_id: int) -> dict[str, CursorRow]:
    """How far each sink has got."""
    return {sink: CursorRow(seq, token) for sink, seq, token in db.execute(sql("cursors"), {"job_id": job_id})}


def put_cursor(db: sqlite3.Connection, job_id: int, sink: str, seq: int, token: str) -> None:
    """A sink has made everything up to ``seq`` durable."""
    db.execute(sql("put_cursor"), {"job_id": job_id, "sink": sink, "seq": seq, "token": token})


def add_roots(db: sqlite3.Connection, found: list[tuple[bytes, int, str]]) -> list[int]:
    """Ids of source folders, given as (canonical path, device, file system)."""
    ids = []
    for path, device, fs in found:
        (ident,) = db.execute(sql("add_root"), {"path": path, "device": device, "fs": fs}).fetchone()
        ids.append(int(ident))
    return ids


def roots(db: sqlite3.Connection, refs: tuple[RootRef, ...]) -> list[RootSpec]:
    """The sources of a job, as the walker is told."""
    rows_ = [(ref, *db.execute(sql("root_row"), {"root_id": ref.id}).fetchone()) for ref in refs]
    return [RootSpec(ref.id, path, device, ref.only) for ref, path, device in rows_]


def begin_batch(db: sqlite3.Connection, job_id: int, epoch: int, now: int) -> int:
    """A worker process begins; returns the batch id."""
    (ident,) = db.execute(sql("add_batch"), {"job_id": job_id, "epoch": epoch, "now": now}).fetchone()
    return int(ident)


def end_batch(
    db: sqlite3.Connection,
    batch_id: int,
    outcome: str,
    given: int,
    peak_bytes: int | None,
    cpu_s: float | None,
    now: int,
) -> None:
    """A worker process ended; ``outcome`` in words."""
    values = {"outcome": outcome, "items": given, "peak_bytes": peak_bytes, "cpu_s": cpu_s, "now": now}
    db.execute(sql("end_batch"), {"batch_id": batch_id, **values})


def batch_ready(db: sqlite3.Connection, batch_id: int, pid: int, load_ms: float) -> None:
    """A worker's models are loaded."""
    db.execute(sql("batch_pid"), {"batch_id": batch_id, "pid": pid})
    db.execute(sql("batch_loaded"), {"batch_id": batch_id, "load_ms": load_ms})


def remove_page(db: sqlite3.Connection, job_id: int) -> int:
    """Remove up to 500 items of a job, and contents that nobody else has; returns how many. 0: the job is gone too."""
    page = db.execute(sql("remove_page"), {"job_id": job_id, "limit": 500}).fetchall()
    for item, _ in page:
        db.execute(sql("remove_item"), {"item": item})
    for content_id in {content for _, content in page if content is not None}:
        key = {"job_id": job_id, "content_id": content_id}
        if not db.execute(sql("content_used"), key).fetchone()[0]:
            for name in ("remove_feed", "remove_failures", "remove_results", "remove_content"):
                db.execute(sql(name), key)
    if not page:
        db.execute(sql("remove_job"), {"job_id": job_id})
    return len(page)
