"""A ledger that cannot be trusted is moved aside, never deleted; what can still be read of its results is kept.

The new ledger is made whole beside the old one before either is moved, so a power cut at any moment loses nothing:
while ``ledger.db`` is there, ``ledger.db.new`` may be half made and is thrown away; where it lies alone, it is whole.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ingestd.ledger import jobfiles
from ingestd.ledger.salvage import copy_results
from ingestd.ledger.sql import sql

_MAGIC: Final = b"SQLite format 3\x00"
_USER_VERSION: Final = slice(60, 64)
"""Where a database's header keeps ``user_version``, big-endian (https://sqlite.org/fileformat2.html, 1.3)."""

_LOGS: Final = ("-wal", "-shm")


def version_of(path: Path, known: int) -> int:
    """The schema version that a ledger file says it has, 0 when it says none. Not one of its bytes is changed.

    Of one above ``known`` only the header is read: SQLite would make an index (``-shm``) beside it.
    """
    with open(path, "rb") as file:
        head = file.read(100)
    if head[:16] != _MAGIC:
        return 0
    if (written := int.from_bytes(head[_USER_VERSION], "big")) > known:
        return written
    try:
        with closing(_open(path, "mode=ro")) as db:
            return int(db.execute(sql("user_version")).fetchone()[0])
    except sqlite3.DatabaseError:
        return 0  # ``damage`` says why


def damage(path: Path) -> str | None:
    """Why the file at ``path`` is no usable ledger, or None if it is one. Nothing is changed.

    The check at every start is a cheap one (header, schema, one look at each table); ``quick_check`` of the whole file
    takes minutes on a large ledger and belongs to ``verify``. What the daemon met itself is remembered by ``mark``.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        return None  # an empty file is what SQLite itself leaves before its first commit
    if head != _MAGIC:
        return "it is not an SQLite database"
    if (mark := _mark(path)).exists():
        return mark.read_text(encoding="utf-8").strip() or "it was found damaged"
    try:
        with closing(_open(path, "mode=ro")) as db:
            tables = [name for (name,) in db.execute(sql("table_names"))]
            if tables and "item" not in tables:
                return "it is another program's database"
            for name in tables:
                db.execute(f'SELECT * FROM "{name}" NOT INDEXED LIMIT 1').fetchone()  # noqa: S608 (names come from the schema)
    except sqlite3.DatabaseError as error:
        return str(error) if is_damage(error) else None  # busy or unreachable: opening it will say so
    return None


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file itself is bad, not that it is busy, full or out of reach."""
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def mark(path: Path, trouble: str) -> None:
    """Remember that a read or write of the ledger met damage: the next start moves it aside."""
    _mark(path).write_text(f"{trouble}\n", encoding="utf-8")


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _fresh(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def renew(path: Path, now_ms: int, trouble: str | None, create: Callable[[sqlite3.Connection], None]) -> list[str]:
    """Make a new ledger at ``path`` of the jobs' files and of what can be read of the one that is there; returns notes.

    ``create`` lays out an empty ledger. ``trouble`` says why the old one goes into ``aside/``; None: there is none.
    """
    fresh = _fresh(path)
    for suffix in ("", "-journal", *_LOGS):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    notes: list[str] = []
    with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = 1")
        create(db)
        if trouble is not None:
            kept, lost = _salvage(path, db)
            notes.append(f"{kept} results could be read in it and are kept{lost}")
        notes += jobfiles.restore(db, path.parent / "jobs", now_ms)
    os.chmod(fresh, 0o600)
    if trouble is not None:
        notes.insert(0, move(path, now_ms, trouble))
    return notes + adopt(path, now_ms)


def _salvage(path: Path, db: sqlite3.Connection) -> tuple[int, str]:
    """Copy results out of the old ledger, by way of its write-ahead log if it can be read so, else without."""
    with open(path, "rb") as file:
        if file.read(16) != _MAGIC:
            return 0, ""
    why = ""
    for mode in ("mode=ro", "immutable=1"):
        with closing(_open(path, mode)) as old:
            try:
                # So that a file shorter than its header says may be read all the same.
                old.execute("PRAGMA writable_schema = 1")
                old.execute(sql("table_names")).fetchall()
            except sqlite3.DatabaseError as error:
                why = f"; reading stopped at: {error}"
            else:
                copied = copy_results(old, db)
                return copied.results, f"; {copied.gaps} damaged stretches were passed over" if copied.gaps else ""
    return 0, why


def adopt(path: Path, now_ms: int) -> list[str]:
    """Where a new ledger was made and the old one is gone from its place, give it the name. Nothing else is done."""
    fresh = _fresh(path)
    if path.exists() or not fresh.exists():
        return []
    # A write-ahead log left by the old ledger would be replayed into the new one.
    left = [suffix for suffix in _LOGS if os.path.exists(f"{path}{suffix}")]
    notes = [move(path, now_ms, "its ledger is no longer there", left)] if left else []
    os.rename(fresh, path)
    _sync(path.parent)
    _mark(path).unlink(missing_ok=True)
    return notes


def move(path: Path, now_ms: int, trouble: str, suffixes: list[str] | None = None) -> str:
    """Rename the ledger and its log files into ``aside/``; returns a sentence for the log."""
    folder = path.parent / "aside"
    folder.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ms / 1000))
    target = folder / f"ledger-{stamp}.db"
    number = 1
    while target.exists():
        number += 1
        target = folder / f"ledger-{stamp}-{number}.db"
    for suffix in suffixes if suffixes is not None else ["", *_LOGS]:
        if os.path.exists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{target}{suffix}")
    _sync(folder)
    return f"the ledger {path} was moved aside to {target}: {trouble}"


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.fsencode(path))}?{mode}", uri=True, isolation_level=None)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
