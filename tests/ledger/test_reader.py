"""What is read: pages of the feed and of folders, paths, and quantiles of times."""

from __future__ import annotations

import random
import sqlite3
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.ledger import items, report
from ingestd.ledger.reader import dir_page, feed_has, feed_page, join_path, live_page, open_reader, root_page
from tests.ledger.books import DESCRIBE, EMBED, META, Books, books, made, sha

ALL = META | EMBED | DESCRIBE


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as kept:
        yield kept


@pytest.mark.parametrize(
    ("root", "rel", "name", "path"),
    [
        (b"/", b"", b"a", b"/a"),
        (b"/", b"x/y", b"a", b"/x/y/a"),
        (b"/photos", b"", b"a", b"/photos/a"),
        (b"/photos", b"x", b"\xff", b"/photos/x/\xff"),
    ],
)
def test_join_path(root: bytes, rel: bytes, name: bytes, path: bytes) -> None:
    """One slash between the parts, whatever the root, and bytes stay bytes."""
    assert join_path(root, rel, name) == path


def test_feed_pages_give_every_key_once_in_order(b: Books) -> None:
    """Pages of any size put together are the whole feed; a key that moves meanwhile comes again, as it is now."""
    names = [b"%03d" % n for n in range(23)]
    found = b.found(*names)
    b.claim()
    b.commit(*(made(item, f"content {item}", ALL) for item in found))
    seen, after = [], 0
    while page := feed_page(b.db, b.job, after, 5):
        seen += page
        after = page[-1].seq
    assert [record.seq for record in seen] == sorted(record.seq for record in seen)
    assert {record.sha256 for record in seen} == {sha(f"content {item}") for item in found}
    b.vanished(found[0])
    (moved,) = feed_page(b.db, b.job, after, 5)
    assert (moved.sha256, moved.deleted, moved.paths) == (sha(f"content {found[0]}"), True, ())


def test_a_record_is_whole(b: Books) -> None:
    """Results by kind, all paths oldest first, their number also where only some are wanted."""
    found = b.found(b"b", b"a", b"\xff")
    b.claim()
    b.commit(made(found[0], "A", ALL), *(made(item, "A", 0) for item in found[1:]))
    (record,) = feed_page(b.db, b.job, 0, 5)
    assert record.paths == (b"/photos/b", b"/photos/a", b"/photos/\xff")
    assert set(record.results or ()) == {"meta", "embed", "describe"}
    assert (record.format, record.width, record.height, record.size) == ("JPEG", 4, 3, 101)
    (short,) = feed_page(b.db, b.job, 0, 5, max_paths=2)
    assert (short.paths, short.paths_total) == (record.paths[:2], 3)
    assert feed_has(b.db, b.job, sha("A"))
    b.vanished(*found)
    assert not feed_has(b.db, b.job, sha("A"))


def test_folder_pages(b: Books) -> None:
    """Names in bytewise order, page by page, of this folder and this job alone; the gone ones told apart."""
    here = b.found(*(b"%d" % n for n in range(12)), rel=b"x")
    b.found(b"elsewhere", rel=b"y")
    b.found(b"of another", rel=b"x", job=b.add_job("two"))
    b.vanished(here[3])
    names, after = [], b""
    while page := dir_page(b.db, b.job, b.root, b"x", after, 5):
        names += [(row[0], row[6]) for row in page]
        after = page[-1][0]
    assert names == sorted((b"%d" % n, int(n == 3)) for n in range(12))
    folders = root_page(b.db, b.root, b"")
    assert [rel for _, rel in folders] == [b"", b"x", b"y"]
    assert root_page(b.db, b.root, b"x\0") == folders[2:]
    live, after = [], b""
    while rows := live_page(b.db, b.job, folders[1][0], after, 5):
        live += [name for name, _ in rows]
        after = rows[-1][0]
    assert live == sorted(b"%d" % n for n in range(12) if n != 3)


def test_a_reader_cannot_write(b: Books) -> None:
    """``mode=ro`` and ``query_only``: a child has no way to change the ledger."""
    db = open_reader(b.path)
    try:
        with pytest.raises(sqlite3.OperationalError) as refusal:
            db.execute("DELETE FROM item")
        assert refusal.value.sqlite_errorname == "SQLITE_READONLY"
    finally:
        db.close()


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_within_19_percent(b: Books, seed: int) -> None:
    """Four buckets to an octave: median and p99 of any spread of times, stored in parts, are at most 19 % off."""
    chance = random.Random(seed)
    values = [chance.lognormvariate(chance.choice([0, 3, 6]), 1.5) for _ in range(2_000)]
    for part in range(0, 2_000, 100):
        times = items.Times()
        for value in values[part : part + 100]:
            times.add({"model": value})
        times.store(b.db, b.job)
    found = report.summary(b.db, b.job, b.now).phases["model"]
    assert found.n == 2_000
    assert found.mean_ms == pytest.approx(statistics.fmean(values))
    assert (found.min_ms, found.max_ms) == (min(values), max(values))
    ordered = sorted(values)
    for told, true in ((found.median_ms, ordered[999]), (found.p99_ms, ordered[1979])):
        assert 1 / 1.19 <= told / true <= 1.19
