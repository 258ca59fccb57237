"""The writer's thread: order, group commit, and a disk that is full for a while."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import Misconfigured, Unavailable
from ingestd.ledger.ledger import Ledger, open_writer
from ingestd.ledger.reader import open_reader
from tests.mountkit import run_on_small_disk


def with_ledger(path: Path, main: Callable[[Ledger], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        ledger = Ledger(path / "ledger.db", 1)
        try:
            await main(ledger)
        finally:
            ledger.close()

    asyncio.run(whole())


def add(db: sqlite3.Connection, number: int) -> int:
    db.execute("INSERT INTO epoch(id, started, pid, version) VALUES (?, 0, 0, '')", (number,))
    return number


def numbers(db: sqlite3.Connection) -> list[int]:
    return [row[0] for row in db.execute("SELECT id FROM epoch ORDER BY id")]


def test_changes_run_in_the_order_of_the_calls(tmp_path: Path) -> None:
    """What was asked first is done first, however many wait; each answer goes to who asked."""

    async def main(ledger: Ledger) -> None:
        order: list[int] = []

        def change(number: int) -> Callable[[sqlite3.Connection], int]:
            return lambda db: (order.append(number), add(db, number))[1]

        futures = [ledger.write(change(number)) for number in range(200)]
        assert await asyncio.gather(*futures) == list(range(200))
        assert order == list(range(200))

    with_ledger(tmp_path, main)


def test_one_that_fails_does_not_undo_its_neighbours(tmp_path: Path) -> None:
    """Each change of a group has a savepoint of its own: half of a failed one is not kept, all of the others are."""

    async def main(ledger: Ledger) -> None:
        gate = threading.Event()
        first = ledger.write(lambda db: (gate.wait(30), add(db, 1))[1])

        def half(db: sqlite3.Connection) -> None:
            add(db, 2)
            raise ValueError("not this one")

        futures = [first, ledger.write(half), ledger.write(lambda db: add(db, 1)), ledger.write(lambda db: add(db, 3))]
        gate.set()
        answers = await asyncio.gather(*futures, return_exceptions=True)
        assert answers[0] == 1
        assert isinstance(answers[1], ValueError)
        assert isinstance(answers[2], sqlite3.IntegrityError)
        assert answers[3] == 3
        assert await ledger.read(numbers) == [1, 3]

    with_ledger(tmp_path, main)


def test_what_waits_is_one_transaction(tmp_path: Path) -> None:
    """Changes that came while a commit was under way become visible together."""

    async def main(ledger: Ledger) -> None:
        gate = threading.Event()
        seen: list[list[int]] = []
        other = open_reader(tmp_path / "ledger.db")
        futures = [ledger.write(lambda db: (gate.wait(30), add(db, 1))[1])]
        futures.append(ledger.write(lambda db: add(db, 2)))
        futures.append(ledger.write(lambda db: (seen.append(numbers(other)), add(db, 3))[1]))
        gate.set()
        await asyncio.gather(*futures)
        other.close()
        assert seen in ([[1]], [[]]), "the second was visible before the third had run"

    with_ledger(tmp_path, main)


def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    """What is queued before the end is kept; what comes after it is refused in words."""

    async def main(ledger: Ledger) -> None:
        future = ledger.write(lambda db: add(db, 7))
        ledger.close()
        assert await future == 7
        with pytest.raises(Unavailable):
            ledger.write(lambda db: add(db, 8))

    with_ledger(tmp_path, main)
    db = open_reader(tmp_path / "ledger.db")
    assert numbers(db) == [7]
    db.close()


def test_a_newer_ledger_is_refused_and_not_touched(tmp_path: Path) -> None:
    """Another release's file keeps every byte; the words name the remedy."""
    path = tmp_path / "ledger.db"
    db, _ = open_writer(path, 1)
    db.execute("PRAGMA user_version = 99")
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    before = path.read_bytes()
    with pytest.raises(Misconfigured, match="newer release"):
        open_writer(path, 2)
    assert path.read_bytes() == before


def shape(db: sqlite3.Connection) -> dict[str, object]:
    """Tables with their columns, indexes, triggers: what two ledgers of one version have in common."""
    names = db.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").fetchall()
    columns = {
        name: sorted(row[1:4] + row[5:] for row in db.execute(f"PRAGMA table_xinfo({name})")) for _, name in names
    }
    indexes = {
        name: [row[1:] for row in db.execute(f"PRAGMA index_xinfo({name})")] for kind, name in names if kind == "index"
    }
    return {"names": sorted(names), "columns": columns, "indexes": indexes}


def test_an_older_ledger_is_brought_up_in_place(tmp_path: Path) -> None:
    """Its rows stay, it becomes what a new ledger is, and that happens once."""
    path = tmp_path / "ledger.db"
    old = sqlite3.connect(path)
    old.executescript((Path(__file__).parent / "schema-1.sql").read_text())
    old.executescript("""
        INSERT INTO content(id, sha256, bytes) VALUES (1, x'01', 9), (2, x'02', 9);
        INSERT INTO step(id, kind, fingerprint, spec, provenance) VALUES (1, 'describe', 'f', '{}', '{}');
        INSERT INTO result(content_id, step_id, body, at)
        VALUES (1, 1, '{"description":"a a a","odd":"loop"}', 5), (2, 1, 'no JSON', 5);
    """)
    old.close()
    db, notes = open_writer(path, 1)
    assert "from schema 1 to" in " ".join(notes)
    assert db.execute("SELECT content_id, odd, body FROM result ORDER BY 1").fetchall() == [
        (1, "loop", '{"description":"a a a","odd":"loop"}'),
        (2, None, "no JSON"),
    ]
    new, _ = open_writer(tmp_path / "new.db", 1)
    assert shape(db) == shape(new)
    for each in (db, new):
        each.close()
    db, notes = open_writer(path, 2)
    assert notes == []
    db.close()


FULL_DISK = """
import asyncio, os, sys
from pathlib import Path
from ingestd.ledger.ledger import Ledger
place = Path(sys.argv[1])
ballast = place / "ballast"

async def main():
    ledger = Ledger(place / "ledger.db", 1)
    def add(number):
        return lambda db: db.execute(
            "INSERT INTO epoch(id, started, pid, version) VALUES (?, 0, 0, ?)", (number, "x" * 200_000)).rowcount
    assert await ledger.write(add(1)) == 1
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"x" * 4096)
    except OSError:
        os.close(descriptor)
    futures = [ledger.write(add(number)) for number in (2, 3, 4)]
    while not ledger.trouble:
        await asyncio.sleep(0.01)
    assert "full" in ledger.trouble, ledger.trouble
    assert not any(future.done() for future in futures)
    assert await ledger.read(lambda db: db.execute("SELECT count(*) FROM epoch").fetchone()) == (1,)
    ballast.unlink()
    assert await asyncio.gather(*futures) == [1, 1, 1]
    assert ledger.trouble == ""
    assert await ledger.read(lambda db: db.execute("SELECT count(*) FROM epoch").fetchone()) == (4,)
    assert await ledger.read(lambda db: db.execute("PRAGMA quick_check").fetchone()) == ("ok",)
    ledger.close()

asyncio.run(main())
print("went on")
"""


def test_a_full_disk_is_waited_out(tmp_path: Path) -> None:
    """On a disk without space changes wait, are read by nobody, and are all made when there is space again."""
    ran = run_on_small_disk(FULL_DISK, tmp_path / "small", "2m")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "went on"
