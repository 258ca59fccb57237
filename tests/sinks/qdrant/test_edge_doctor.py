"""What ``doctor`` sees of an embedded store without opening it: nothing that is there is changed by the look."""

from __future__ import annotations

from pathlib import Path

from ingestd.sinks import base
from ingestd.sinks.base import Cursor
from ingestd.testing.feed import Feed, feed_of
from tests.sinks.conftest import SmallDisk
from tests.sinks.doctorkit import look, prints


def test_an_embedded_store(feed: Feed, tmp_path: Path) -> None:
    """Not there yet, held by a process, well, of another recipe, damaged; and none of that touched."""
    place = tmp_path / "stores" / "store"
    assert "is made at the first delivery" in look(feed, "qdrant", place).finding
    sink = base.make(feed.setup("qdrant", place))
    sink.open(Cursor(0, ""))
    page = list(feed.records(sink.max_paths))[:20]
    sink.deliver(page)
    taken = look(feed, "qdrant", place)
    assert (taken.level, "another process is writing there" in taken.finding) == ("fail", True)
    assert "the daemon has it open" in look(feed, "qdrant", place, served=True).finding
    sink.close()
    before = prints(tmp_path)
    well = look(feed, "qdrant", place)
    assert (well.level, well.remedy) == ("ok", "")
    assert f"everything up to change {page[-1].seq} is in it" in well.finding
    assert prints(tmp_path) == before
    (tmp_path / "other").mkdir()
    with feed_of(tmp_path / "other", 0, dim=4) as other:
        assert "another recipe's" in look(other, "qdrant", place).finding
    (place / "ingestd.json").write_bytes(b"torn")
    assert look(feed, "qdrant", place).level == "warn"


def test_a_store_without_room(feed: Feed, small_disk: SmallDisk) -> None:
    """The engine would end its process there: the number of bytes that must be free is named."""
    found = look(feed, "qdrant", small_disk.folder / "store")
    assert (found.level, "disk full" in found.finding) == ("fail", True)
    assert "at least 256 MiB" in found.remedy
