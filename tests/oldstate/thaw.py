"""Unpacks the state folder of an old release, and makes it at home where it lies now.

A ledger knows its files by path, inode and time, a JSONL cursor its file by inode; all of these are others after
unpacking. They are rewritten here as if the folder had always lain there, so that to the daemon nothing has changed.
What sinks have written (lines, points) keeps the paths of then: it is not ours to change.

Plain ``sqlite3`` and ``json``, and nothing of the product: what this knows of version 2 of the ledger stays true.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ARCHIVE = HERE / "state-6b54340.tar.xz"
EXPECTED: dict[str, Any] = json.loads((HERE / "expected.json").read_text())
"""What was done when the folder was frozen; paths are relative to the base, as ``os.fsdecode`` has them."""

OLD = EXPECTED["base"]

LIVE = (
    "SELECT item.id, root.path, dir.rel, item.name, item.size FROM item JOIN dir ON dir.id = dir_id"
    " JOIN root ON root.id = root_id WHERE state <> 'gone'"
)


class Thawed(NamedTuple):
    """``base`` has ``home`` (``INGESTD_HOME``), ``photos``, and in ``away`` a source that was taken away."""

    base: Path

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def ledger(self) -> Path:
        return self.home / "state" / "ledger.db"

    def now(self, text: str) -> str:
        """What a text of then, with the old base in it, is here."""
        return text.replace(OLD, str(self.base))

    def path(self, relative: str) -> bytes:
        """The absolute path of a file of ``EXPECTED``."""
        return os.fsencode(self.base) + b"/" + os.fsencode(relative)


def thaw(folder: Path) -> Thawed:
    """Unpack into ``folder``. The ledger is as a killed daemon leaves it, the newest of it in its write-ahead log."""
    base = Path(os.path.realpath(folder))
    assert json.dumps(str(base)) == f'"{base}"', "the base stands in JSON as it is"
    with tarfile.open(ARCHIVE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # which Python 3.11.0 to 3.11.3 lack
        archive.extractall(base)
    thawed = Thawed(base)
    words = [*_lists(thawed), (OLD, str(base))]
    for path in (thawed.home / "state" / "jobs").glob("*.json"):
        path.write_text(_job_file(path.read_text(), words))
    _rewrite(thawed, words)
    return thawed


def _lists(thawed: Thawed) -> Iterator[tuple[str, str]]:
    """Rewrite the spooled file lists, which carry their hash in their names; (then, now) of each hash and name."""
    for path in sorted((thawed.home / "state" / "spool").iterdir()):
        data = path.read_bytes()
        moved = data.replace(os.fsencode(OLD) + b"/", os.fsencode(thawed.base) + b"/")
        path.unlink()
        then, now = (hashlib.sha256(each).hexdigest() for each in (data, moved))
        assert path.stem == f"list-{then[:16]}"
        path.with_stem(f"list-{now[:16]}").write_bytes(moved)
        yield then, now
        yield f"list-{then[:16]}", f"list-{now[:16]}"


def _job_file(text: str, words: list[tuple[str, str]]) -> str:
    for then, now in words:
        text = text.replace(then, now)
    job = json.loads(text)
    for root in job["roots"]:
        path = base64.b64decode(root["path"]).replace(os.fsencode(OLD), os.fsencode(words[-1][1]))
        root |= {"path": base64.b64encode(path).decode(), "device": _device(path) if root["device"] else 0}
    return json.dumps(job, indent=2) + "\n"


def _device(path: bytes) -> int:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_dev


def _rewrite(thawed: Thawed, words: list[tuple[str, str]]) -> None:
    """Rewrite the ledger. The last to close a database folds its log into it: that is done to a copy."""
    ledger, aside = thawed.ledger, thawed.base / "rewriting"
    aside.mkdir()
    files = [ledger, ledger.with_name("ledger.db-wal")]
    for file in files:
        shutil.move(file, aside)
    db = sqlite3.connect(aside / "ledger.db", isolation_level=None)
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("BEGIN")
    for table, column in _texts(db):
        for then, now in words:
            db.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                f" WHERE typeof({column}) = 'text' AND instr({column}, ?)",
                (then, now, then),
            )
    _paths(db, thawed)
    _files(db, thawed)
    _tokens(db, thawed)
    db.execute("COMMIT")
    for file in files:
        shutil.copyfile(aside / file.name, file)
        file.chmod(0o600)
    db.close()
    shutil.rmtree(aside)


def _texts(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every column of every table that may hold text and is no generated one."""
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    columns = [(table, row) for table in tables for row in db.execute(f"PRAGMA table_xinfo({table})").fetchall()]
    return [(table, row[1]) for table, row in columns if row[2] == "TEXT" and row[6] == 0]


def _paths(db: sqlite3.Connection, thawed: Thawed) -> None:
    """Sources; and the folders of file lists, whose source is ``/``."""
    then, now = os.fsencode(OLD), os.fsencode(thawed.base)
    for ident, path, device in db.execute("SELECT id, path, device FROM root").fetchall():
        moved = path.replace(then, now)
        values = (moved, _device(moved) if device else 0, ident)
        db.execute("UPDATE root SET path = ?, device = ? WHERE id = ?", values)
    for ident, rel in db.execute(
        "SELECT dir.id, rel FROM dir JOIN root ON root.id = root_id WHERE path = x'2f'"
    ).fetchall():
        db.execute("UPDATE dir SET rel = ? WHERE id = ?", (rel.replace(then[1:], now[1:]), ident))


def _files(db: sqlite3.Connection, thawed: Thawed) -> None:
    """Every file is as the ledger has it: none was changed when the folder was frozen."""
    for ident, root, rel, name, size in db.execute(LIVE).fetchall():
        path = b"/".join([root.rstrip(b"/"), rel, name] if rel else [root.rstrip(b"/"), name])
        if not os.path.exists(path):
            path = path.replace(thawed.path("photos"), thawed.path("away"))
        found = os.stat(path)
        assert found.st_size == size, path
        values = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, ident)
        db.execute("UPDATE item SET mtime_ns = ?, ctime_ns = ?, inode = ? WHERE id = ?", values)


def _tokens(db: sqlite3.Connection, thawed: Thawed) -> None:
    """A JSONL cursor names the inode of its file."""
    rows = db.execute("SELECT job_id, uuid, sink, token FROM cursor JOIN job ON job.id = job_id").fetchall()
    for job, uuid, sink, token in rows:
        kind, _, place = sink.partition(":")
        path = Path(place) if place else thawed.home / "state" / "sinks" / uuid / "items.jsonl"
        if kind == "jsonl" and token and path.exists():
            text = json.dumps(json.loads(token) | {"inode": path.stat().st_ino})
            db.execute("UPDATE cursor SET token = ? WHERE job_id = ? AND sink = ?", (text, job, sink))
