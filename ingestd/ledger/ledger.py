"""The writer: one thread owns the connection that writes and checkpoints; callers hand it functions.

What waits while a commit is under way is committed together (group commit): each function runs in a savepoint of its
own, so that one that fails does not undo its neighbours. A full or failing disk is waited out here, with the group
kept and run again: callers see a slow ledger, never half of a change.
"""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from ingestd.errors import Misconfigured, Unavailable
from ingestd.ledger import aside
from ingestd.ledger.reader import open_reader
from ingestd.ledger.sql import migration, schema
from ingestd.policy.states import ITEM_MOVES

T = TypeVar("T")
Change = Callable[[sqlite3.Connection], T]

SCHEMA_VERSION: Final = 3
WAL_LIMIT: Final = 64 * 1024 * 1024
"""Bytes the write-ahead log is cut back to after a checkpoint: a burst should not occupy the disk for ever."""

CLOSE_LANE_S: Final = 30.0
"""Seconds for each of the ledger's threads to finish what is queued when the daemon ends."""

PULSE_STEPS: Final = 1_000_000
"""Steps of SQLite's machine between two signs of life inside one statement: some 10 to 50 ms."""

_RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_WAITABLE: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN}


def open_writer(path: Path, now_ms: int) -> tuple[sqlite3.Connection, list[str]]:
    """Open or create the ledger at ``path``; returns the connection and notes for the log.

    Raises ``Misconfigured`` for a ledger written by a newer release (it is not touched) and for a state folder that
    cannot be written. A file that is no ledger, or a damaged one, is moved aside, and what can be read of its results
    is kept; a new ledger begins with the jobs that have files.
    """
    try:
        notes = aside.adopt(path, now_ms)
        if path.exists():
            version = aside.version_of(path, SCHEMA_VERSION)
            if version > SCHEMA_VERSION:
                raise Misconfigured(
                    f"a newer release wrote it (schema {version}, this one knows {SCHEMA_VERSION}); it was not touched",
                    operation="open",
                    object=f"the ledger {path}",
                    remedy="Install the newer ingestd again, or set INGESTD_HOME to another folder",
                )
            if (trouble := aside.damage(path)) is not None:
                notes += aside.renew(path, now_ms, trouble, _create)
        else:
            notes += aside.renew(path, now_ms, None, _create)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA busy_timeout = 5000")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = 1")
        db.execute("PRAGMA foreign_keys = 1")
        db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        if version == 0:
            _create(db)
        elif version < SCHEMA_VERSION:
            _migrate(db, version)
            notes.append(f"the ledger was brought from schema {version} to {SCHEMA_VERSION}")
    except (sqlite3.OperationalError, OSError) as error:
        kind = Unavailable if _passes(error) else Misconfigured
        raise kind(
            getattr(error, "strerror", None) or str(error),
            operation="open",
            object=f"the ledger {path}",
            remedy="Check that it and its folder can be read and written, and that the disk has space",
        ) from error
    os.chmod(path, 0o600)
    return db, notes


def _passes(error: sqlite3.OperationalError | OSError) -> bool:
    """Whether it may be over at another time without a person's change: a full disk, one that stutters."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY)


def _create(db: sqlite3.Connection) -> None:
    moves = sorted({(old, new) for old, row in ITEM_MOVES.items() for new in row.values() if old != new})
    rows = ",".join(f"('{old}','{new}')" for old, new in moves)
    # executescript commits what is open, so the whole creation is one script: all of it or nothing.
    db.executescript(f"BEGIN;\n{schema()}\nINSERT INTO item_move(old, new) VALUES {rows};\nCOMMIT;")


def _migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring an older ledger to this version, a version at a time, each whole or not at all."""
    for target in range(version + 1, SCHEMA_VERSION + 1):
        db.executescript(f"BEGIN IMMEDIATE;\n{migration(target)};\nPRAGMA user_version = {target};\nCOMMIT;")


class _Lane(ABC):
    """A thread with a queue of functions for one connection."""

    def __init__(self, name: str, db: sqlite3.Connection) -> None:
        self.condition = threading.Condition()
        self.db = db
        db.set_progress_handler(self._gets_on, PULSE_STEPS)
        self.waiting: deque[tuple[Change[Any], asyncio.Future[Any]]] = deque()
        self.pulses: deque[asyncio.Future[Any]] = deque()
        self.closed = False
        self.thread = threading.Thread(target=self._main, name=name, daemon=True)

    def _main(self) -> None:
        while True:
            with self.condition:
                while not self.waiting and not self.closed and not self.pulses:
                    self.condition.wait()
                if not self.waiting and self.closed:
                    break
                group = list(self.waiting)
                self.waiting.clear()
            self.show_life()
            if group:
                self.run_group(group)
        self.show_life()
        self.at_end()

    def show_life(self) -> None:
        """Answer who asked for a sign of life; called in the thread, wherever it gets on."""
        while self.pulses:
            _answer(self.pulses.popleft(), None, None)

    def _gets_on(self) -> int:
        self.show_life()
        return 0  # anything else would end the statement

    @abstractmethod
    def run_group(self, group: list[tuple[Change[Any], asyncio.Future[Any]]]) -> None:
        """Run what was queued; called in the thread."""

    @abstractmethod
    def at_end(self) -> None:
        """Called in the thread after the last function."""

    def submit(self, change: Change[T]) -> asyncio.Future[T]:
        """Queue ``change``, in the order of calls; the future is of the running event loop."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self.condition:
            self._check_open()
            self.waiting.append((change, future))
            self.condition.notify()
        return future

    def pulse(self) -> asyncio.Future[None]:
        """Resolves when the thread has shown that it gets on: at once between functions, soon inside a long one."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self.condition:
            self._check_open()
            self.pulses.append(future)
            self.condition.notify()
        return future

    def _check_open(self) -> None:
        if self.closed:
            raise Unavailable(
                "it is closed", operation="use", object="the ledger", remedy="The daemon is shutting down"
            )

    def close(self) -> None:
        """Let what is queued finish, then end the thread. Blocks."""
        with self.condition:
            self.closed = True
            self.condition.notify()
        if self.thread.ident is not None:
            self.thread.join(timeout=CLOSE_LANE_S)


def _answer(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    def settle() -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)

    try:
        future.get_loop().call_soon_threadsafe(settle)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


class _Writer(_Lane):
    def __init__(self, db: sqlite3.Connection) -> None:
        super().__init__("ledger-writer", db)
        self.trouble = ""

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt. A full disk is a wait, not a wedge: signs of life are given all the while."""
        until = time.monotonic() + seconds
        with self.condition:
            while not self.closed and (left := until - time.monotonic()) > 0:
                self.condition.wait(left)
                self.show_life()

    def run_group(self, group: list[tuple[Change[Any], asyncio.Future[Any]]]) -> None:
        for attempt in range(1 << 30):
            try:
                answers = self._attempt(group)
                break
            except sqlite3.Error as error:  # of any kind: a writer that dies would leave its callers waiting for ever
                self._rollback()
                if (getattr(error, "sqlite_errorcode", 0) & 0xFF) not in _WAITABLE or self.closed:
                    answers = [(None, error)] * len(group)
                    break
                self.trouble = f"the ledger cannot be written: {error}"
                self._rest(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
        self.trouble = ""
        for (_, future), (value, error_of_one) in zip(group, answers, strict=True):
            _answer(future, value, error_of_one)

    def _attempt(self, group: list[tuple[Change[Any], asyncio.Future[Any]]]) -> list[tuple[Any, BaseException | None]]:
        answers: list[tuple[Any, BaseException | None]] = []
        self.db.execute("BEGIN IMMEDIATE")
        for change, _ in group:
            self.db.execute("SAVEPOINT one")
            try:
                value = change(self.db)
            except Exception as error:
                if isinstance(error, sqlite3.OperationalError) and (error.sqlite_errorcode & 0xFF) in _WAITABLE:
                    raise
                self.db.execute("ROLLBACK TO one")
                answers.append((None, error))
            else:
                answers.append((value, None))
            self.db.execute("RELEASE one")
        self.db.execute("COMMIT")
        return answers

    def _rollback(self) -> None:
        try:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # SQLite has rolled back by itself; what it met is told already

    def at_end(self) -> None:
        self.db.close()


class _Reader(_Lane):
    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, open_reader(path))

    def run_group(self, group: list[tuple[Change[Any], asyncio.Future[Any]]]) -> None:
        for change, future in group:
            if future.cancelled():  # its asker went: clients that come and go must not leave a queue of their queries
                continue
            try:
                _answer(future, change(self.db), None)
            except Exception as error:
                _answer(future, None, error)

    def at_end(self) -> None:
        self.db.close()


class Ledger:
    """The daemon's hold on its ledger: ``write`` for changes, ``read`` for quick answers, ``browse`` for long ones."""

    def __init__(self, path: Path, now_ms: int) -> None:
        self.path = path
        db, self.notes = open_writer(path, now_ms)
        self._writer = _Writer(db)
        # Two lanes, so that `status` never queues behind a page of failures or a summary.
        self._quick = _Reader("ledger-quick", path)
        self._slow = _Reader("ledger-slow", path)
        for lane in (self._writer, self._quick, self._slow):
            lane.thread.start()

    @property
    def trouble(self) -> str:
        """Why nothing can be written at present, or ``""``."""
        return self._writer.trouble

    def write(self, change: Change[T]) -> asyncio.Future[T]:
        """Run ``change`` in the next transaction; the future resolves when that is durable.

        Changes run in the order of these calls. A change may be run again after a disk error: it must have no effect
        but through its connection.
        """
        return self._writer.submit(change)

    def pulse(self) -> asyncio.Future[Any]:
        """Resolves when the threads that write and that answer ``status`` have shown that they get on, or that they
        wait for a disk, which is no wedge. The third one's queries may take as long as the ledger is large.
        """
        return asyncio.gather(self._writer.pulse(), self._quick.pulse())

    def read(self, query: Change[T]) -> asyncio.Future[T]:
        """Run a query of a few rows, read-only."""
        return self._quick.submit(query)

    def browse(self, query: Change[T]) -> asyncio.Future[T]:
        """Run a query that may take long, read-only, beside the quick ones."""
        return self._slow.submit(query)

    def close(self) -> None:
        """Finish what is queued and close. Blocks until the last commit is durable."""
        for lane in (self._quick, self._slow, self._writer):
            lane.close()
