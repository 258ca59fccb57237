"""No query that runs per item, window or page may walk through a table: read from SQLite's own plans.

The ledger is never ANALYZEd, so that a plan cannot change under a user; these are the plans that everybody has.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.ledger.ledger import open_writer
from ingestd.ledger.sql import queries

INDEXES = {
    "claim": "item_claim (job_id=? AND pass=? AND not_before<?)",
    "lowest_pass": "item_claim (job_id=?)",
    "claim_suspect": "item_suspect (job_id=?)",
    "suspect_pass": "item_suspect (job_id=?)",
    "odd_by_flag": "result_odd (step_id=?)",
    "stranded": "item_running (job_id=?)",
    "batch_flights": "item_running (job_id=? AND batch_id=?)",
    "failed_page": "item_failed (job_id=? AND id>?)",
    "failures_by_kind": "item_failed (job_id=?)",
    "content_paths": "item_content (content_id=? AND job_id=?)",
    "content_paths_count": "item_content (content_id=? AND job_id=?)",
    "alive": "item_content (content_id=? AND job_id=?)",
    "content_used": "item_content (content_id=?)",
    "feed_page": "feed_seq (job_id=? AND seq>?)",
    "content_failures": "failure_content (content_id=?)",
    "forget_content_failures": "failure_content (content_id=?)",
    "item_at": "item_place (dir_id=? AND name=? AND job_id=?)",
    "items_at": "item_place (dir_id=? AND name=?)",
    "dir_page": "item_place (dir_id=? AND name>?)",
    "live_page": "item_place (dir_id=? AND name>?)",
    "last_scan": "scan_job (job_id=?)",
    "current_store": "store_current (job_id=? AND sink=?)",
}
"""The index that each hot query must go by."""

BY_KEY = {
    "content_row", "content_by_sha", "content_bits", "content_results", "flight", "item_marks", "item_failures",
    "feed_has", "in_feed", "dir_id", "dir_path", "item_path", "settle", "settle_unread", "give_back", "quarantine",
    "retry", "repend", "restat", "vanish", "tally", "next_seq", "count_step", "forget_failures", "root_page",
    "cursors", "job_steps", "remove_item", "remove_feed", "remove_results", "remove_failures", "remove_content",
}  # fmt: skip
"""Queries that go by a primary key or a unique one."""

SCANS = {
    "end_lost_batches", "end_lost_scans", "jobs", "all_roots", "table_names", "salvage_steps", "salvage_contents",
    "salvage_results",
}  # fmt: skip
"""Those that may read a whole table: small ones, or once per start or salvage."""

IF_BROKEN = {"add_epoch", "add_job", "add_step"}
"""Inserting a row that others point at: the plan shows a scan of those others, which SQLite leaves out unless a broken
foreign key is outstanding (``OP_FkIfZero``), and with immediate ones none ever is."""

WHOLE_JOB = {"attempts_total", "remove_page", "remove_job"}
"""Those for which the index of all items of a job is meant: ``summary`` and ``remove``."""


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    connection, _ = open_writer(tmp_path_factory.mktemp("ledger") / "ledger.db", 1)
    yield connection
    connection.close()


def plan(db: sqlite3.Connection, statement: str) -> list[str]:
    if statement.startswith("PRAGMA"):
        return []
    values = dict.fromkeys(re.findall(r":(\w+)", statement), 0) or (0,) * statement.count("?")
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


@pytest.mark.parametrize("name", INDEXES)
def test_a_hot_query_goes_by_its_index(db: sqlite3.Connection, name: str) -> None:
    """Each by the index that was made for it."""
    lines = plan(db, queries()[name])
    assert any(INDEXES[name] in line for line in lines), lines
    assert not any(line.startswith("SCAN") and "CONSTANT" not in line for line in lines), lines


@pytest.mark.parametrize("name", sorted(BY_KEY))
def test_a_query_by_key_goes_by_that_key(db: sqlite3.Connection, name: str) -> None:
    """Every step is a search by a primary key or a unique one; nothing is sorted."""
    for line in plan(db, queries()[name]):
        keys = ("PRIMARY KEY", "autoindex", "failure_content", "item_content")  # the last two: foreign keys looked up
        assert (line.startswith("SEARCH") and any(key in line for key in keys)) or line in (
            "SCAN CONSTANT ROW",
            "SCALAR SUBQUERY 1",
        ), line


@pytest.mark.parametrize("name", sorted(queries()))
def test_no_other_query_scans(db: sqlite3.Connection, name: str) -> None:
    """A query that is new here is held to the rule as well: no scan, and no walk through all items of a job."""
    for line in plan(db, queries()[name]):
        if name not in SCANS | IF_BROKEN and line.startswith("SCAN"):
            # A temporary result of the query itself, or of a subquery with a LIMIT, may be read whole.
            assert not re.match(r"SCAN (item|content|result|failure|feed|dir|batch|scan|timing)\b", line), line
        if name not in WHOLE_JOB | IF_BROKEN:
            assert "item_job" not in line, line


PARENTS = ("content", "item", "job")
"""Tables whose rows are deleted; for each, every table that points at it is searched for the row's key."""


@pytest.mark.parametrize("parent", PARENTS)
def test_a_deletion_searches_its_children_by_an_index(db: sqlite3.Connection, parent: str) -> None:
    """A foreign key without an index would make every deletion read the child table whole."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    seen = 0
    for child in tables:
        for _, _, target, column, *_ in db.execute(f"PRAGMA foreign_key_list({child})").fetchall():
            if target != parent or child == "store":  # a job has a handful of stores
                continue
            seen += 1
            lines = plan(db, f"SELECT 1 FROM {child} WHERE {column} = :key")
            assert all(line.startswith("SEARCH") for line in lines), (child, lines)
    assert seen
    shown = plan(db, f"DELETE FROM {parent} WHERE id = :key")
    assert all("SCAN" not in line or line == "SCAN store" for line in shown), shown


def test_every_index_is_of_use(db: sqlite3.Connection) -> None:
    """An index that no query goes by only costs at every commit."""
    used = " ".join(line for name in queries() for line in plan(db, queries()[name]))
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")]
    unused = {name for name in names if name not in used}
    # job_name holds the rule that a name is taken once, and is never searched.
    assert unused == {"job_name"}


def test_a_query_stands_for_something() -> None:
    """Every query of the file is used by its name somewhere in the package."""
    package = Path(__file__).parents[2] / "ingestd"
    source = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    unused = [name for name in queries() if f'"{name}"' not in source]
    assert not unused
