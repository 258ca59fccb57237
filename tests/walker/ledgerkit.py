"""A real ledger beside a real walker: applies listings with plain SQL, as much of the daemon as the walker sees."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingestd.ledger.sql import schema
from ingestd.policy.states import ITEM_MOVES
from ingestd.protocol.walk import Credit, FromWalker, Listing, RootSpec, ScanEnd, WalkerSetup
from ingestd.protocol.work import Hello, Stat
from tests.childkit import Child, running

JOB = 1
MODULE = "ingestd.walker"


@dataclass
class Told:
    """What one walk said. ``new`` and ``again`` are paths relative to their root (the latter had an item already)."""

    end: ScanEnd
    listings: list[Listing] = field(default_factory=list)

    @property
    def new(self) -> list[bytes]:
        return [path for path, item in self.entries() if item is None]

    @property
    def again(self) -> list[bytes]:
        return [path for path, item in self.entries() if item is not None]

    @property
    def gone(self) -> list[int]:
        return [item for listing in self.listings for item in listing.gone]

    @property
    def quiet(self) -> bool:
        """Nothing differed, nothing went wrong."""
        return self.end.complete and not (self.new or self.again or self.gone)

    def entries(self) -> list[tuple[bytes, int | None]]:
        return [
            (b"/".join(filter(None, (listing.rel, entry.name))), entry.item)
            for listing in self.listings
            for entry in listing.entries
        ]


class Ledger:
    """A ledger with one job; ``walk`` runs a real walker child against it and stores what it tells."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = OFF")
        self.db.executescript(schema())
        moves = {(old, new) for old, events in ITEM_MOVES.items() for new in events.values() if old != new}
        self.db.executemany("INSERT INTO item_move VALUES (?, ?)", sorted(moves))
        self.db.execute(
            "INSERT INTO job(id, uuid, name, roots, requested, sinks, status, created, changed)"
            " VALUES (1, 'u', 'n', '[]', '{}', '[]', 'running', 0, 0)"
        )

    def root(self, path: Path | bytes, *, device: int | None = None, only: bytes | None = None) -> RootSpec:
        """The root row of a folder; ``device`` as it is now unless given."""
        raw = path if isinstance(path, bytes) else bytes(path)
        if device is None:
            try:
                device = Path(raw.decode()).stat().st_dev
            except FileNotFoundError:
                device = 0
        self.db.execute("INSERT OR IGNORE INTO root(path, device, fs) VALUES (?, ?, '')", (raw, device))
        (id,) = self.db.execute("SELECT id FROM root WHERE path = ?", (raw,)).fetchone()
        return RootSpec(id, raw, device, only)

    def setup(self, *roots: RootSpec, **changes: Any) -> WalkerSetup:
        settings: dict[str, Any] = {"include": [], "exclude": [], "limit": None, "list_file": None, **changes}
        return WalkerSetup(JOB, str(self.path), list(roots), **settings)

    def walk(self, *roots: RootSpec, prefix: Sequence[str] = (), **changes: Any) -> Told:
        """One whole walk through a real child, every listing applied before its credit is given."""
        with running(MODULE, FromWalker, prefix=prefix) as child:
            child.expect(Hello)
            child.send(self.setup(*roots, **changes))
            listings = []
            while isinstance(message := child.receive(), Listing):
                listings.append(message)
                self.apply(message)
                give_credit(child)
            assert isinstance(message, ScanEnd), message
            assert child.wait() == 0
        return Told(message, listings)

    def apply(self, listing: Listing) -> None:
        """What the daemon does with a listing: new rows, changed rows back to pending, gone ones marked."""
        with closing(self.db.cursor()) as db:
            db.execute("BEGIN")
            key = (listing.root_id, listing.rel)
            db.execute("INSERT OR IGNORE INTO dir(root_id, rel) VALUES (?, ?)", key)
            (dir_id,) = db.execute("SELECT id FROM dir WHERE root_id = ? AND rel = ?", key).fetchone()
            db.executemany(
                "INSERT INTO item(job_id, dir_id, name, size, mtime_ns, ctime_ns, inode, state, todo)"
                " VALUES (1, ?, ?, ?, ?, ?, ?, 'pending', 1)",
                [(dir_id, entry.name, *_columns(entry.stat)) for entry in listing.entries if entry.item is None],
            )
            db.executemany(
                "UPDATE item SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?, state = 'pending', gone_at = NULL"
                " WHERE id = ?",
                [(*_columns(entry.stat), entry.item) for entry in listing.entries if entry.item is not None],
            )
            db.executemany(
                "UPDATE item SET state = 'gone', gone_at = 1 WHERE id = ?", [(item,) for item in listing.gone]
            )
            db.execute("COMMIT")

    def live(self) -> list[bytes]:
        """The paths of all items that are not gone, relative to their roots."""
        rows = self.db.execute(
            "SELECT dir.rel, item.name FROM item JOIN dir ON dir.id = item.dir_id WHERE state <> 'gone'"
        )
        return sorted(b"/".join(filter(None, row)) for row in rows)

    def count(self) -> int:
        """All item rows, gone ones included: a path never gets a second row."""
        (n,) = self.db.execute("SELECT count(*) FROM item").fetchone()
        return int(n)


def give_credit(child: Child, n: int = 1) -> None:
    """Credit for a walker that may have sent its last message and gone already."""
    try:
        child.send(Credit(n))
    except BrokenPipeError:
        pass


def _columns(stat: Stat) -> tuple[int, int, int, int]:
    return stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode


def photo(path: Path, data: bytes = b"x") -> Path:
    """A file, with the folders above it. The walker opens nothing, so any bytes do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
