"""``jobs/<uuid>.json``: each job's request in a file of its own, so that a lost ledger's jobs can be made again."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import jobs
from ingestd.policy.job_spec import JobSpec, decode_spec
from ingestd.policy.states import JobStatus
from ingestd.protocol.walk import RootSpec
from ingestd.records import JobRow, RootRef


class Source(msgspec.Struct, frozen=True):
    """A folder of a job, and a file name where the source is one file of it (msgspec writes bytes as base64)."""

    path: bytes
    only: bytes | None = None
    device: int = 0


class JobFile(msgspec.Struct, frozen=True):
    """What a job is made again from. ``status`` counts only where a person set it: ``paused``, ``stopped``."""

    uuid: str
    name: str
    created: int
    status: JobStatus
    reason: str
    actor: str
    roots: tuple[Source, ...]
    requested: msgspec.Raw
    sinks: tuple[SinkSpec, ...]

    @property
    def spec(self) -> JobSpec:
        """The request, of this or of an earlier release. Raises ``msgspec.MsgspecError``."""
        return decode_spec(bytes(self.requested))


def of_job(row: JobRow, roots: list[RootSpec]) -> JobFile:
    """The file's content for a job. A status that moves by itself is written as ``queued``, so the file rests."""
    status: JobStatus = row.status if row.status in ("paused", "stopped") else "queued"
    reason, actor = (row.reason, row.actor) if status != "queued" else ("", "")
    sources = tuple(Source(root.path, root.only, root.device) for root in roots)
    spec = msgspec.Raw(msgspec.json.encode(row.spec))
    return JobFile(row.uuid, row.name, row.created, status, reason, actor, sources, spec, row.sinks)


def keep(folder: Path, job: JobFile) -> None:
    """Write a job's file, whole or not at all; nothing is written when it already says so."""
    path = folder / f"{job.uuid}.json"
    data = msgspec.json.format(msgspec.json.encode(job)) + b"\n"
    try:
        if path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass  # it is new
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def forget(folder: Path, uuid: str) -> None:
    """A job was removed."""
    (folder / f"{uuid}.json").unlink(missing_ok=True)


def restore(db: sqlite3.Connection, folder: Path, now: int) -> list[str]:
    """Make the jobs of ``folder`` again in an empty ledger, oldest first; returns notes for the log.

    Each comes back under its uuid and name, a walk owed and every sink's cursor at zero: queued, or paused where a
    person had paused it. A stopped one does not come back.
    """
    notes: list[str] = []
    found: list[JobFile] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(_read(path))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            notes.append(f"the job of {path} is not made again: {error}")
    db.execute("BEGIN IMMEDIATE")
    for job in sorted(found, key=lambda job: (job.created, job.uuid)):
        if job.status == "stopped":
            notes.append(f"the job {job.name} was stopped and is not made again")
            continue
        db.execute("SAVEPOINT one")
        try:
            _restore_one(db, job, now)
            notes.append(f"the job {job.name} was made again from its file; its sources are walked again")
        except sqlite3.IntegrityError as error:
            db.execute("ROLLBACK TO one")
            notes.append(f"the job {job.name} is not made again: {error}")
        db.execute("RELEASE one")
    db.execute("COMMIT")
    return notes


def _read(path: Path) -> JobFile:
    """A job's file, its request looked at as well. Raises ``OSError`` and ``msgspec.MsgspecError``."""
    job = msgspec.json.decode(path.read_bytes(), type=JobFile)
    _ = job.spec
    return job


def _restore_one(db: sqlite3.Connection, job: JobFile, now: int) -> None:
    ids = jobs.add_roots(db, [(source.path, source.device, "") for source in job.roots])
    refs = [RootRef(ident, source.only) for ident, source in zip(ids, job.roots, strict=True)]
    row = jobs.add(
        db, uuid=job.uuid, name=job.name, refs=refs, spec=job.spec, sinks=list(job.sinks), actor=job.actor,
        now=job.created,
    )  # fmt: skip
    if job.status == "paused":
        jobs.set_status(db, row.id, "paused", job.reason, job.actor, now)
