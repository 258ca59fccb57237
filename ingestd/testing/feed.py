"""A real ledger, made by plain SQL, with one job whose feed grows and changes as a test says."""

from __future__ import annotations

import hashlib
import json
import math
import random
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ingestd.kinds.sinks import SHIPPED, SinkKind
from ingestd.ledger.reader import Record, feed_page, open_reader
from ingestd.ledger.sql import schema
from ingestd.policy.states import ITEM_MOVES
from ingestd.protocol.sink import SinkSetup
from ingestd.protocol.work import Step

JOB = 1
ROOT = b"/photos"
DIM = 8
NOW = 1_750_000_000_000
STORE = "my photos-0123abcd"
"""Jobs of one name and recipe, of two machines perhaps, share a collection on a server."""


class Feed:
    """One job's feed in the ledger at ``folder/ledger.db``. Contents are numbered from 1.

    Content ``i`` lies in folder ``/photos/<2000 + i % 20>``, was taken in that year, and every seventh has a name
    that is not UTF-8. Every tenth has no vector: its embed step failed. ``dim`` 0 makes a recipe without vectors.
    """

    def __init__(self, folder: Path, dim: int = DIM) -> None:
        self.path = folder / "ledger.db"
        self.uuid = uuid4()
        self.steps = [Step(0, "meta", "meta-1", {}), Step(1, "describe", "tags-1", {})]
        if dim:
            self.steps.append(Step(2, "embed", "vectors-1", {"dim": dim}))
        self.dim = dim
        self._db = sqlite3.connect(self.path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(schema())
        with self._transaction() as db:
            moves = {(old, new) for old, events in ITEM_MOVES.items() for new in events.values()}
            db.executemany("INSERT OR IGNORE INTO item_move VALUES (?, ?)", sorted(moves))
            db.execute("INSERT INTO root VALUES (1, ?, 0, 'ext4')", (ROOT,))
            db.execute(
                "INSERT INTO job(id, uuid, name, roots, requested, sinks, status, created, changed)"
                " VALUES (?, ?, 'job', '[1]', '{}', '[]', 'running', ?, ?)",
                (JOB, str(self.uuid), NOW, NOW),
            )
            for step in self.steps:
                db.execute(
                    "INSERT INTO step VALUES (?, ?, ?, ?, '{}')",
                    (step.bit + 1, step.kind, step.fingerprint, json.dumps(step.spec)),
                )
                db.execute(
                    "INSERT INTO job_step(job_id, bit, step_id, pass) VALUES (?, ?, ?, 0)",
                    (JOB, step.bit, step.bit + 1),
                )
        self._dirs: dict[bytes, int] = {}

    def close(self) -> None:
        self._db.close()

    def setup(self, kind: str | SinkKind, place: Path | str, seq: int = 0, token: str = "") -> SinkSetup:
        """For a kind that ships, by its name, or for another one by its declaration."""
        kind, declaration = (kind, SHIPPED.get(kind)) if isinstance(kind, str) else (kind.name, kind)
        return SinkSetup(
            JOB, str(self.uuid), "job", str(self.path), kind, str(place), self.steps, seq, token, self.end(), STORE,
            declaration=declaration,
        )  # fmt: skip

    def end(self) -> int:
        (seq,) = self._db.execute("SELECT feed_seq FROM tally WHERE job_id = ?", (JOB,)).fetchone()
        return int(seq)

    def records(self, max_paths: int | None = None) -> Iterator[Record]:
        """The whole feed as a sink reads it."""
        reader = open_reader(self.path)
        try:
            after = 0
            while page := feed_page(reader, JOB, after, max_paths=max_paths):
                yield from page
                after = page[-1].seq
        finally:
            reader.close()

    def add(self, count: int) -> None:
        """New contents, each with one path and its results."""
        with self._transaction() as db:
            (last,) = db.execute("SELECT coalesce(max(id), 0) FROM content").fetchone()
            for content in range(last + 1, last + 1 + count):
                db.execute(
                    "INSERT INTO content(id, sha256, bytes, format, width, height) VALUES (?, ?, ?, 'JPEG', 640, 480)",
                    (content, digest(content), 1000 + content),
                )
                self._item(content, b"%d" % (2000 + content % 20), _name(content))
                meta = {"taken_at": f"{2000 + content % 20}-06-15T12:00:00Z", "orientation": 1}
                tags = {"description": f"a photo of number {content}", "tags": ["photo"]}
                self._result(content, 1, meta)
                self._result(content, 2, tags)
                if self.dim and content % 10:
                    self._result(content, 3, {}, vector(content, self.dim))
                self._move(content)

    def rename(self, content: int, to: bytes = b"") -> None:
        """The content's first path gets another name in the folder ``moved``."""
        with self._transaction() as db:
            name = to or b"renamed-%d-%d.jpg" % (content, self.end())
            db.execute(
                "UPDATE item SET dir_id = ?, name = ? WHERE id ="
                " (SELECT min(id) FROM item WHERE content_id = ? AND state <> 'gone')",
                (self._dir(b"moved"), name, content),
            )
            self._move(content)

    def copy(self, content: int, times: int = 1) -> None:
        """More paths to the same content."""
        with self._transaction():
            for _ in range(times):
                self._item(content, b"copies", b"copy-%d.jpg" % random.getrandbits(60))
            self._move(content)

    def delete(self, content: int) -> None:
        """All paths are gone: the key is marked deleted."""
        with self._transaction() as db:
            db.execute(
                "UPDATE item SET state = 'gone', gone_at = ? WHERE content_id = ? AND state <> 'gone'", (NOW, content)
            )
            self._move(content, deleted=True)

    def revive(self, content: int) -> None:
        """A deleted content comes back under another name; its results were kept."""
        with self._transaction():
            self._item(content, b"back", b"back-%d.jpg" % random.getrandbits(60))
            self._move(content)

    def again(self, content: int, description: str) -> None:
        """Another result of the describe step."""
        with self._transaction() as db:
            db.execute(
                "UPDATE result SET body = ?, at = at + 1 WHERE content_id = ? AND step_id = 2",
                (json.dumps({"description": description, "tags": []}), content),
            )
            self._move(content)

    def stir(self, chance: random.Random, contents: Iterable[int]) -> None:
        """One random change to each of these contents."""
        for content in contents:
            (deleted,) = self._db.execute("SELECT deleted FROM feed WHERE content_id = ?", (content,)).fetchone()
            if deleted:
                self.revive(content)
            else:
                match chance.randrange(4):
                    case 0:
                        self.rename(content)
                    case 1:
                        self.delete(content)
                    case 2:
                        self.copy(content)
                    case _:
                        self.again(content, f"again {chance.random()}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            yield self._db

    def _dir(self, rel: bytes) -> int:
        if rel not in self._dirs:
            row = self._db.execute("INSERT INTO dir(root_id, rel) VALUES (1, ?) RETURNING id", (rel,)).fetchone()
            self._dirs[rel] = row[0]
        return self._dirs[rel]

    def _item(self, content: int, rel: bytes, name: bytes) -> None:
        self._db.execute(
            "INSERT INTO item(job_id, dir_id, name, size, mtime_ns, ctime_ns, inode, content_id, state, todo)"
            " VALUES (?, ?, ?, 1, 1, 1, 1, ?, 'done', 0)",
            (JOB, self._dir(rel), name, content),
        )

    def _result(self, content: int, step: int, body: object, vector: bytes | None = None) -> None:
        self._db.execute(
            "INSERT INTO result VALUES (?, ?, ?, ?, NULL, ?)", (content, step, json.dumps(body), vector, NOW + content)
        )

    def _move(self, content: int, deleted: bool = False) -> None:
        (seq,) = self._db.execute(
            "UPDATE tally SET feed_seq = feed_seq + 1 WHERE job_id = ? RETURNING feed_seq", (JOB,)
        ).fetchone()
        self._db.execute("INSERT OR REPLACE INTO feed VALUES (?, ?, ?, ?)", (JOB, content, seq, deleted))


@contextmanager
def feed_of(folder: Path, count: int = 0, dim: int = DIM) -> Iterator[Feed]:
    feed = Feed(folder, dim)
    try:
        feed.add(count)
        yield feed
    finally:
        feed.close()


def digest(content: int) -> bytes:
    return hashlib.sha256(b"content %d" % content).digest()


def vector(content: int, dim: int = DIM) -> bytes:
    """A direction of its own for each content, L2-normalised."""
    numbers = random.Random(content).choices(range(-100, 101), k=dim)
    length = math.sqrt(sum(n * n for n in numbers)) or 1.0
    return struct.pack(f"<{dim}f", *(n / length for n in numbers))


def _name(content: int) -> bytes:
    return (b"image-%d-\xff.jpg" if content % 7 == 0 else b"image-%d.jpg") % content
