"""One folder's files against what the ledger has of it: only differences go out."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Container, Sequence
from typing import Final

from ingestd.ledger.reader import KnownRow, dir_page, join_path, live_page, root_page
from ingestd.protocol.walk import Entry, RootSpec
from ingestd.protocol.work import Stat
from ingestd.walker.outbox import Outbox

ROWS: Final = 8192
"""Ledger rows held at a time, about 3 MiB: one query for nearly every folder, and a million files in one stay cheap."""

POLL_EVERY: Final = 500
"""Files between two looks at what the daemon sent: half a second on a network file system that takes 1 ms a file."""


class Comparison:
    """Compares folder after folder for one job, until ``limit`` items were found; then ``full`` is true.

    When it is full the folder at hand is still compared by names, so that what its complete listing no longer
    holds is known to be gone, and nothing of it is looked at any more.
    """

    def __init__(self, db: sqlite3.Connection, job_id: int, limit: int | None, outbox: Outbox) -> None:
        self._db = db
        self._job_id = job_id
        self._limit = limit
        self._outbox = outbox
        self.full = False

    def folder(
        self,
        root_id: int,
        rel: bytes,
        names: Sequence[bytes],
        look: Callable[[bytes], Stat | None],
        trouble: Callable[[bytes, OSError], None],
        *,
        stable: bool,
    ) -> None:
        """Tell the outbox how a folder differs. ``names`` is the complete listing, in bytewise order, without doubles.

        ``look`` gives a file's state, None for one that is not there or no file, or raises ``OSError``: such a
        file goes to ``trouble`` and stays as the ledger has it. ``stable`` says whether inode and change time mean
        anything here.
        """
        self._outbox.begin(root_id, rel)
        done, after = 0, b""
        while True:
            rows = dir_page(self._db, self._job_id, root_id, rel, after, ROWS)
            last = len(rows) < ROWS
            end = len(names) if last else bisect_right(names, rows[-1][0], done)
            known = {row[0]: row for row in rows}
            for start in range(done, end, POLL_EVERY):
                self._outbox.poll()
                self._names(names[start : min(start + POLL_EVERY, end)], known, look, trouble, stable)
            for row in known.values():
                if not row[6]:
                    self._outbox.add_gone(row[1])
            if last:
                break
            done, after = end, rows[-1][0]
        self._outbox.end()

    def _names(
        self,
        names: Sequence[bytes],
        known: dict[bytes, KnownRow],
        look: Callable[[bytes], Stat | None],
        trouble: Callable[[bytes, OSError], None],
        stable: bool,
    ) -> None:
        """Compare ``names`` and take them out of ``known``, where what is gone is left over."""
        outbox = self._outbox
        for name in names:
            row = known.pop(name, None)
            if self.full:
                continue
            try:
                stat = look(name)
            except OSError as error:
                trouble(name, error)
                continue
            if stat is None:
                if row is not None:
                    known[name] = row
            elif self._limit is not None and outbox.found >= self._limit:
                self.full = True
            elif row is None:
                outbox.add(Entry(name, stat))
            elif row[6] or differs(row, stat, stable):
                outbox.add(Entry(name, stat, row[1]))
            else:
                outbox.add_unchanged(1)

    def forget(self, root: RootSpec, visited: Container[bytes], is_shielded: Callable[[bytes], bool]) -> None:
        """Mark gone what is known in the folders of ``root`` that the walk did not come to.

        ``visited`` holds the ``rel`` of each folder that was compared; ``is_shielded`` answers for absolute paths.
        """
        start = b""
        while page := root_page(self._db, root.id, start):
            start = page[-1][1] + b"\0"  # the next path in bytewise order
            self._outbox.poll()
            for dir_id, rel in page:
                if rel not in visited and not is_shielded(join_path(root.path, b"", rel) if rel else root.path):
                    self._forget_folder(root.id, dir_id, rel)

    def _forget_folder(self, root_id: int, dir_id: int, rel: bytes) -> None:
        self._outbox.begin(root_id, rel)
        after = b""
        while items := live_page(self._db, self._job_id, dir_id, after):
            after = items[-1][0]
            for _, item in items:
                self._outbox.add_gone(item)
        self._outbox.end()


def differs(row: KnownRow, stat: Stat, stable: bool) -> bool:
    """Whether a file may hold other bytes than the ledger knows."""
    _, _, size, mtime_ns, ctime_ns, inode, _ = row
    if size != stat.size or mtime_ns != stat.mtime_ns:
        return True
    return stable and (ctime_ns != stat.ctime_ns or inode != stat.inode)
