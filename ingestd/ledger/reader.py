"""Read-only access to the ledger, for children and for the daemon's answers.

Every function takes a connection from ``open_reader``, runs to its end inside one short read transaction and returns
plain values: a reader that is held open keeps the write-ahead log from being reset.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

from ingestd.ledger.sql import sql

PAGE = 256
"""Rows per read: large enough that a page is cheap per row, small enough that no reader holds a snapshot for long."""


def open_reader(path: str | os.PathLike[str]) -> sqlite3.Connection:
    """A read-only connection to the ledger at ``path``. Raises ``sqlite3.OperationalError`` when it is not there."""
    uri = f"file:{quote(os.fsencode(path))}?mode=ro"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA busy_timeout = 5000")
    db.execute("PRAGMA query_only = 1")
    return db


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One consistent view for several queries."""
    db.execute("BEGIN")
    try:
        yield db
    finally:
        db.execute("COMMIT")


def join_path(root: bytes, rel: bytes, name: bytes) -> bytes:
    """The absolute path of an item."""
    base = root.rstrip(b"/")
    return b"/".join((base, rel, name) if rel else (base, name))


class Made(NamedTuple):
    """What one step made of a content: ``body`` is JSON text, ``vector`` little-endian float32 or None."""

    fingerprint: str
    body: str
    vector: bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """The current, whole state of one key of a job's feed. ``results`` is by the steps' names.

    ``paths`` are absolute, oldest item first, at most as many as were asked for; ``paths_total`` counts all.
    ``size`` is the file's length in bytes. ``updated_at`` is Unix milliseconds: when the newest result was made. A
    deleted record carries its key alone.
    """

    seq: int
    sha256: bytes
    deleted: bool
    size: int = 0
    format: str | None = None
    width: int | None = None
    height: int | None = None
    results: dict[str, Made] | None = None
    paths: tuple[bytes, ...] = ()
    paths_total: int = 0
    updated_at: int = 0


def feed_page(
    db: sqlite3.Connection, job_id: int, after: int, limit: int = PAGE, max_paths: int | None = None
) -> list[Record]:
    """The next records of a job's feed after cursor ``after``, in order of ``seq``.

    ``max_paths`` bounds ``Record.paths`` (None: all of them).
    """
    with snapshot(db):
        rows = db.execute(sql("feed_page"), {"job_id": job_id, "after": after, "limit": limit}).fetchall()
        return [_record(db, job_id, seq, content_id, bool(deleted), max_paths) for seq, content_id, deleted in rows]


def _record(
    db: sqlite3.Connection, job_id: int, seq: int, content_id: int, deleted: bool, max_paths: int | None
) -> Record:
    key = {"content_id": content_id, "job_id": job_id}
    sha256, size, format, width, height = db.execute(sql("content_row"), key).fetchone()
    if deleted:
        return Record(seq, sha256, True)
    results: dict[str, Made] = {}
    updated = 0
    for name, fingerprint, body, vector, at in db.execute(sql("content_results"), key):
        results[name] = Made(fingerprint, body, vector)
        updated = max(updated, at)
    limit = -1 if max_paths is None else max_paths
    paths = tuple(join_path(*row) for row in db.execute(sql("content_paths"), {**key, "limit": limit}))
    total = len(paths)
    if total == max_paths:
        (total,) = db.execute(sql("content_paths_count"), key).fetchone()
    return Record(seq, sha256, False, size, format, width, height, results, paths, total, updated)


def feed_end(db: sqlite3.Connection, job_id: int) -> int:
    """The newest ``seq`` of a job's feed; 0 when nothing was ever in it."""
    row = db.execute(sql("feed_end"), {"job_id": job_id}).fetchone()
    return int(row[0]) if row else 0


def feed_has(db: sqlite3.Connection, job_id: int, sha256: bytes) -> bool:
    """Whether this content is in the job's feed now: a point that is not there is an orphan in a store."""
    return db.execute(sql("feed_has"), {"job_id": job_id, "sha256": sha256}).fetchone() is not None


KnownRow = tuple[bytes, int, int, int, int, int, int]
"""An item as the ledger has it: name, id, size, mtime_ns, ctime_ns, inode, whether it is gone (0 or 1)."""


def dir_page(db: sqlite3.Connection, job_id: int, root_id: int, rel: bytes, after: bytes, limit: int) -> list[KnownRow]:
    """The next items of one folder in one job, in bytewise order of their names, after the name ``after``."""
    key = {"job_id": job_id, "root_id": root_id, "rel": rel, "after": after, "limit": limit}
    return db.execute(sql("dir_page"), key).fetchall()


def root_page(db: sqlite3.Connection, root_id: int, start: bytes, limit: int = PAGE) -> list[tuple[int, bytes]]:
    """The next known folders ``(id, rel)`` of a root, in bytewise order of ``rel``, from ``start`` on."""
    return db.execute(sql("root_page"), {"root_id": root_id, "start": start, "limit": limit}).fetchall()


def live_page(
    db: sqlite3.Connection, job_id: int, dir_id: int, after: bytes, limit: int = PAGE
) -> list[tuple[bytes, int]]:
    """The next items ``(name, id)`` of a folder and job that are not gone, after the name ``after``."""
    key = {"dir_id": dir_id, "job_id": job_id, "after": after, "limit": limit}
    return db.execute(sql("live_page"), key).fetchall()
