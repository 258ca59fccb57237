"""A ledger is read without a daemon, and one that cannot be read is an error that names it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ingestd.errors import IngestError
from ingestd.ledger import report
from ingestd.ledger.ledger import SCHEMA_VERSION
from ingestd.ledger.offline import from_ledger
from tests.ledger.books import books


def test_no_ledger_is_no_answer(tmp_path: Path) -> None:
    """Before the first start there is none: that is not an error, and none is made."""
    assert from_ledger(tmp_path / "ledger.db", report.facts) is None
    assert list(tmp_path.iterdir()) == []


def test_its_jobs_are_read(tmp_path: Path) -> None:
    """What the daemon has written is read through a connection that is closed again."""
    with books(tmp_path) as kept:
        found = from_ledger(kept.path, report.facts)
    assert [facts.row.name for facts in found or []] == ["one"]


@pytest.mark.parametrize("harm", ["newer", "garbage"])
def test_what_cannot_be_read_is_an_error_that_names_the_ledger(tmp_path: Path, harm: str) -> None:
    """A ledger of a newer release, or of bytes that are no database, is left as it is."""
    with books(tmp_path) as kept:
        path = kept.path
    if harm == "newer":
        with closing(sqlite3.connect(path)) as db:
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    else:
        path.write_bytes(b"no database" * 1000)
    before = path.read_bytes()
    with pytest.raises(IngestError) as caught:
        from_ledger(path, report.facts)
    assert str(path) in caught.value.sentence()
    assert path.read_bytes() == before
