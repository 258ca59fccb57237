"""A ledger of version 2 with jobs and items in every state is opened by this release, in place: no row is lost."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ingestd.ledger.ledger import open_writer
from tests.oldstate.snapshot import Item, look
from tests.oldstate.thaw import EXPECTED, Thawed, thaw

JOB_STATES = ["completed", "failed", "paused", "queued", "running", "stopped", "waiting"]
ITEM_STATES = ["done", "failed", "gone", "pending", "running", "suspect"]
GROWS = {"item_move"}
"""Tables that are no data of a job: a later version may know more than version 2 did."""


@pytest.fixture
def thawed(tmp_path: Path) -> Thawed:
    return thaw(tmp_path)


def tables(db: sqlite3.Connection) -> dict[str, list[str]]:
    """Every table's stored columns."""
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    return {name: [row[1] for row in db.execute(f"PRAGMA table_info({name})").fetchall()] for name in sorted(names)}


def rows(db: sqlite3.Connection, columns: dict[str, list[str]]) -> dict[str, Counter[Any]]:
    """The rows of each table in these columns, each value with its storage class."""
    found = {}
    for table, names in columns.items():
        values = ", ".join(f"{name}, typeof({name})" for name in names)
        found[table] = Counter(db.execute(f"SELECT {values} FROM {table}").fetchall())
    return found


def before(ledger: Path) -> tuple[dict[str, list[str]], dict[str, Counter[Any]]]:
    """Read without changing a byte: a reader does not fold the log of a killed daemon into the file."""
    db = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        columns = tables(db)
        return columns, rows(db, columns)
    finally:
        db.close()


def test_the_frozen_ledger_is_what_its_record_says(thawed: Thawed) -> None:
    """Jobs and items in every state there is; each with what ``expected.json`` has of it."""
    seen = look(thawed)
    assert sorted(set(seen.statuses.values())) == JOB_STATES
    items = [item for job in seen.items.values() for item in job.values()]
    assert sorted({item.state for item in items}) == ITEM_STATES
    for then in EXPECTED["jobs"].values():
        assert seen.statuses[then["uuid"]] == then["status"]
        assert seen.items[then["uuid"]] == {
            path: Item(item["state"], item["attempts"], item["sha256"]) for path, item in then["items"].items()
        }
    made: dict[str, dict[str, list[Any]]] = {}
    for (content, fingerprint), row in seen.results.items():
        made.setdefault(content, {})[fingerprint] = list(row)
    assert made == EXPECTED["results"]


def test_every_row_is_there_with_its_old_values(thawed: Thawed) -> None:
    """Every column of version 2 of every row of every table; the file is whole, and as new as one made today."""
    columns, old = before(thawed.ledger)
    db, _ = open_writer(thawed.ledger, 1)
    new, _ = open_writer(thawed.base / "new.db", 1)
    try:
        now = rows(db, columns)
        for table in columns:
            assert old[table] - now[table] == Counter(), table
            assert now[table] == old[table] or table in GROWS, table
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        version = "PRAGMA user_version"
        assert db.execute(version).fetchone() == new.execute(version).fetchone()
        assert {name: sorted(have) for name, have in tables(db).items()} == {
            name: sorted(have) for name, have in tables(new).items()
        }
    finally:
        db.close()
        new.close()


def test_it_is_brought_up_once(thawed: Thawed) -> None:
    """A second opening finds nothing to do, and nothing of the first was made twice."""
    columns, old = before(thawed.ledger)
    for number in range(2):
        db, notes = open_writer(thawed.ledger, number)
        assert notes == [] or number == 0
        assert rows(db, columns)["item"] == old["item"]
        db.close()
    assert not (thawed.home / "state" / "aside").exists()


def test_counters_are_what_the_rows_say(thawed: Thawed) -> None:
    """The tally of each job, and what each of its steps has done and failed, recounted after the upgrade."""
    db, _ = open_writer(thawed.ledger, 1)
    try:
        for job, name in db.execute("SELECT id, name FROM job").fetchall():
            tally = db.execute(f"SELECT {', '.join(ITEM_STATES)} FROM tally WHERE job_id = ?", (job,)).fetchone()
            counted = dict(db.execute("SELECT state, count(*) FROM item WHERE job_id = ? GROUP BY state", (job,)))
            assert tally == tuple(counted.get(state, 0) for state in ITEM_STATES), name
            for bit, done, failed in db.execute("SELECT bit, done, failed FROM job_step WHERE job_id = ?", (job,)):
                recounted = db.execute(
                    "SELECT coalesce(sum(todo & :bit = 0 AND bad & :bit = 0), 0), coalesce(sum(bad & :bit <> 0), 0)"
                    " FROM item WHERE job_id = :job AND state <> 'gone'",
                    {"bit": 1 << bit, "job": job},
                ).fetchone()
                assert recounted == (done, failed), (name, bit)
            newest = db.execute("SELECT coalesce(max(seq), 0) FROM feed WHERE job_id = ?", (job,)).fetchone()
            assert newest == db.execute("SELECT feed_seq FROM tally WHERE job_id = ?", (job,)).fetchone()
    finally:
        db.close()
