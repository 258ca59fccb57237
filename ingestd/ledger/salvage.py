"""Copies steps, contents and results out of a damaged ledger, row by row; what cannot be read is passed over.

Ids are kept, so that results need no translation. Rows come in order of their rowid, which needs no index; a damaged
page costs the rows on it alone. What is read is checked before it is written: a damaged page may also yield nonsense.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from ingestd.ledger.sql import sql

_PAGE: Final = 1_000
_MAX_ROWID: Final = (1 << 63) - 1
_SHA256: Final = 32

Row = tuple[Any, ...]


class Copied(NamedTuple):
    """How many results were copied, and how many damaged stretches were passed over."""

    results: int
    gaps: int


def copy_results(old: sqlite3.Connection, new: sqlite3.Connection) -> Copied:
    """Copy what ``old`` holds into ``new``, an empty ledger with foreign keys on; a transaction per page."""
    old.text_factory = bytes  # what is no UTF-8 is refused by ``_text``, not by the cursor
    gaps: list[int] = []
    _copy(old, new, "salvage_steps", "add_salvaged_step", _step, gaps)
    _copy(old, new, "salvage_contents", "add_salvaged_content", _content, gaps)
    results = _copy(old, new, "salvage_results", "add_salvaged_result", _result, gaps)
    return Copied(results, len(gaps))


def _copy(
    old: sqlite3.Connection,
    new: sqlite3.Connection,
    select: str,
    insert: str,
    check: Callable[[Row], Row],
    gaps: list[int],
) -> int:
    count = 0
    for page in _pages(old, sql(select), gaps):
        new.execute("BEGIN IMMEDIATE")
        for row in page:
            try:
                count += new.execute(sql(insert), check(row)).rowcount
            except (ValueError, TypeError, sqlite3.IntegrityError):
                continue  # nonsense from a damaged page, or a result whose content could not be read
        new.execute("COMMIT")
    return count


def _pages(old: sqlite3.Connection, query: str, gaps: list[int]) -> Iterator[list[Row]]:
    """Every row that can be read, in pages; the first column is the rowid."""
    after = 0
    while True:
        page: list[Row] = []
        damaged = False
        try:
            for row in old.execute(query, {"after": after, "limit": _PAGE}):
                page.append(row)
        except sqlite3.DatabaseError:
            damaged = True
        if page:
            yield page
            after = page[-1][0]
        if damaged:
            following = _beyond(old, query, after)
            gaps.append(after)
            if following is None:
                return
            after = following
        elif len(page) < _PAGE:
            return


def _beyond(old: sqlite3.Connection, query: str, after: int) -> int | None:
    """The smallest rowid found from which rows can be read again; None when there is none."""

    def readable(start: int) -> bool:
        try:
            return old.execute(query, {"after": start, "limit": 1}).fetchone() is not None
        except sqlite3.DatabaseError:
            return False

    bad, step = after, 1
    while not readable(after + step):
        bad = after + step
        step *= 2
        if after + step > _MAX_ROWID:
            return None
    good = after + step
    while good - bad > 1:
        middle = (good + bad) // 2
        if readable(middle):
            good = middle
        else:
            bad = middle
    return good


def _text(value: object, *, json: bool = False) -> str:
    if not isinstance(value, bytes):
        raise ValueError(value)
    text = value.decode()
    if json and not isinstance(msgspec.json.decode(text), dict):
        raise ValueError(text)
    return text


def _step(row: Row) -> Row:
    ident, kind, fingerprint, spec, provenance = row
    return ident, _text(kind), _text(fingerprint), _text(spec, json=True), _text(provenance, json=True)


def _content(row: Row) -> Row:
    ident, sha256, kind, size, format, width, height = row
    if not isinstance(sha256, bytes) or len(sha256) != _SHA256:
        raise ValueError(sha256)
    return ident, sha256, _text(kind), size, None if format is None else _text(format), width, height


def _result(row: Row) -> Row:
    _, content_id, step_id, body, vector, at = row
    if vector is not None and (not isinstance(vector, bytes) or len(vector) % 4):
        raise ValueError(vector)
    return content_id, step_id, _text(body, json=True), vector, at
