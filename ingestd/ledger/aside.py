"""A ledger that cannot be trusted is moved aside, never deleted; what can still be read of its results is kept."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

_MAGIC = b"SQLite format 3\x00"


def damage(path: Path) -> str | None:
    """Why the file at ``path`` is no usable ledger, or None if it is one. Nothing is changed.

    The check at every start is a cheap one (header, schema, one look at each table); ``quick_check`` of the whole file
    takes minutes on a large ledger and belongs to ``verify``.
    """
    with open(path, "rb") as file:
        head = file.read(16)
    if not head:
        return None  # an empty file is what SQLite itself leaves before its first commit
    if head != _MAGIC:
        return "it is not an SQLite database"
    try:
        db = sqlite3.connect(f"file:{quote(os.fsencode(path))}", uri=True, isolation_level=None)
        try:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            if tables and "item" not in tables:
                return "it is another program's database"
            for name in tables:
                db.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()  # noqa: S608 (names come from the schema)
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            return None  # busy or unreachable is not damage; opening it will say so
        return str(error)
    return None


def move(path: Path, now_ms: int, trouble: str) -> str:
    """Rename the ledger and its log files into ``aside/``; returns a sentence for the log."""
    folder = path.parent / "aside"
    folder.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ms / 1000))
    target = folder / f"ledger-{stamp}.db"
    number = 1
    while target.exists():
        number += 1
        target = folder / f"ledger-{stamp}-{number}.db"
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{target}{suffix}")
    return f"the ledger {path} was moved aside to {target}: {trouble}"
