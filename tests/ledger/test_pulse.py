"""The writing thread's signs of life: given wherever it gets on or waits for a disk, and not where it stands."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import Misconfigured, Unavailable
from ingestd.ledger import ledger as module
from ingestd.ledger.ledger import Ledger

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT max(i) FROM n"


def with_ledger(path: Path, main: Callable[[Ledger], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        ledger = Ledger(path / "ledger.db", 1)
        try:
            await asyncio.wait_for(main(ledger), 60)
        finally:
            ledger.close()

    asyncio.run(whole())


def test_an_idle_thread_answers(tmp_path: Path) -> None:
    """With nothing to do, and between changes; each who asks is answered."""

    async def main(ledger: Ledger) -> None:
        await ledger.pulse()
        await asyncio.gather(*(ledger.pulse() for _ in range(50)))
        assert await ledger.write(lambda db: 1) == 1
        await ledger.pulse()

    with_ledger(tmp_path, main)


@pytest.mark.parametrize("lane", ["write", "read"])
def test_one_that_stands_does_not(tmp_path: Path, lane: str) -> None:
    """A change that never comes back gives no sign, whoever asks; when it does come back, all are answered.

    Nor does a query that ``status`` waits behind.
    """

    async def main(ledger: Ledger) -> None:
        entered, gate = threading.Event(), threading.Event()

        def stands(db: sqlite3.Connection) -> None:
            entered.set()
            gate.wait(30)

        future = getattr(ledger, lane)(stands)
        await asyncio.to_thread(entered.wait, 30)
        pulses = [ledger.pulse(), ledger.pulse()]
        done, _ = await asyncio.wait(pulses, timeout=0.3)
        assert not done
        gate.set()
        await asyncio.gather(future, *pulses)

    with_ledger(tmp_path, main)


def test_a_long_statement_gets_on(tmp_path: Path) -> None:
    """Signs come from inside a statement that takes long: it is work, not a wedge."""

    async def main(ledger: Ledger) -> None:
        running = threading.Event()

        def long(db: sqlite3.Connection) -> int:
            running.set()
            return int(db.execute(SLOW.format(8_000_000)).fetchone()[0])

        future = ledger.write(long)
        await asyncio.to_thread(running.wait, 30)
        for _ in range(3):
            await ledger.pulse()
        assert not future.done(), "the statement was too quick to show anything"
        assert await future == 8_000_000

    with_ledger(tmp_path, main)


def test_a_full_disk_is_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a change is tried again and again, signs are given, also in the long pauses; SQLite itself says full."""
    monkeypatch.setattr(module, "_RETRY_S", (30.0,))

    async def main(ledger: Ledger) -> None:
        await ledger.write(lambda db: db.execute("CREATE TABLE ballast(body BLOB)"))
        pages = await ledger.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])

        def fills(db: sqlite3.Connection) -> None:
            db.execute(f"PRAGMA max_page_count = {pages + 2}")
            db.execute("INSERT INTO ballast VALUES (zeroblob(1000000))")

        future = ledger.write(fills)
        while not ledger.trouble:
            await asyncio.sleep(0.01)
        for _ in range(3):
            await ledger.pulse()
        assert not future.done()
        assert ledger.trouble
        # An end does not wait for the pause: the change fails, as nobody can make room for it any more.
        await asyncio.to_thread(ledger.close)
        with pytest.raises(sqlite3.OperationalError) as full:
            await future
        assert full.value.sqlite_errorname == "SQLITE_FULL"

    with_ledger(tmp_path, main)


def test_a_closed_ledger_gives_none(tmp_path: Path) -> None:
    """Who asks before the end is answered, who asks after it is refused."""

    async def main(ledger: Ledger) -> None:
        last = ledger.pulse()
        ledger.close()
        await last
        with pytest.raises(Unavailable):
            await ledger.pulse()

    with_ledger(tmp_path, main)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device"), Unavailable),
        (OSError(5, "Input/output error"), Unavailable),
        (PermissionError(13, "Permission denied"), Misconfigured),
    ],
)
def test_what_passes_is_no_mistake(
    error: OSError, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the opening is over some day: it must not look like what only a person can mend."""

    def refuse(path: Path, now_ms: int) -> list[str]:
        raise error

    monkeypatch.setattr(module.aside, "adopt", refuse)
    with pytest.raises(kind, match=error.strerror):
        module.open_writer(tmp_path / "ledger.db", 1)
