"""Reading a ledger that no daemon has open: for the answers of ``--oneshot`` and for the doctor."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from ingestd.errors import IngestError
from ingestd.ledger import aside
from ingestd.ledger.ledger import SCHEMA_VERSION
from ingestd.ledger.reader import open_reader

T = TypeVar("T")


def from_ledger(ledger: Path, read: Callable[[sqlite3.Connection], T]) -> T | None:
    """What ``read`` finds in the ledger; None where there is no ledger. Raises ``IngestError``."""
    try:
        if not ledger.exists():
            return None
        if (why := _trouble(ledger)) is None:
            with closing(open_reader(ledger)) as db:
                return read(db)
    except (OSError, sqlite3.Error) as error:
        why = str(error)
    raise IngestError(
        why, operation="read", object=f"the ledger {ledger}",
        remedy="ingestctl start begins the daemon, which says what can be done",
    )  # fmt: skip


def _trouble(ledger: Path) -> str | None:
    """Why the ledger cannot be read here; the daemon knows what to do then."""
    if aside.version_of(ledger, SCHEMA_VERSION) > SCHEMA_VERSION:
        return "a newer release wrote it"
    return aside.damage(ledger)
