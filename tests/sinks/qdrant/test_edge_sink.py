"""The embedded store: what does not open, does not match or has no room; and how long a query takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import qdrant_edge

from ingestd.errors import EXIT_OK
from ingestd.protocol.sink import Delivered, FromSink, Grown, Hits, Search, Trouble
from ingestd.protocol.work import Finish, Hello, Step
from ingestd.sinks.base import Cursor
from ingestd.sinks.qdrant.edge_sink import MARK, Mark
from ingestd.testing.feed import Feed, feed_of, vector
from ingestd.testing.following import follow
from tests.childkit import running
from tests.sinks.conftest import SmallDisk
from tests.sinks.qdrant.places import Edge


@pytest.fixture
def kind(tmp_path: Path) -> Edge:
    return Edge(tmp_path)


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    with feed_of(tmp_path, 30) as feed:
        yield feed


def aside(kind: Edge) -> list[Path]:
    return sorted(kind.place.parent.glob(f"{kind.place.name}.aside-*"))


def _spoil_segment(place: Path) -> None:
    next(place.glob("segments/*/segment.json")).write_text("{{{")


def _spoil_mark(place: Path) -> None:
    (place / MARK).write_text("{")


def _die_while_opening(place: Path) -> None:
    """Three processes in a row ended while they opened it."""
    (place / "ingestd.opening").write_bytes(b"+++")


@pytest.mark.parametrize("harm", [_spoil_segment, _spoil_mark, _die_while_opening], ids=lambda harm: harm.__name__)
def test_a_store_that_does_not_open_is_moved_aside(kind: Edge, feed: Feed, harm: Callable[[Path], None]) -> None:
    """It is made again from the ledger; of what was moved aside the newest is kept."""
    cursor = follow(kind, feed).cursor
    for _ in range(2):
        harm(kind.place)
        line = follow(kind, feed, cursor)
        assert line.delivered[0].seq == 0
        assert kind.state() == kind.expected(feed)
        assert len(aside(kind)) == 1
        cursor = line.cursor


def test_a_file_in_the_way_is_kept(kind: Edge, feed: Feed) -> None:
    """What is no store of ours is moved aside and never dropped."""
    for text in ("one", "two"):
        kind.place.write_text(text)
        follow(kind, feed)
        kind.lose()
    assert [path.read_text() for path in aside(kind)] == ["one", "two"]


def test_an_opening_that_succeeds_is_forgotten(kind: Edge, feed: Feed) -> None:
    """Only deaths in a row count."""
    cursor = follow(kind, feed).cursor
    (kind.place / "ingestd.opening").write_bytes(b"++")
    for _ in range(2):
        assert follow(kind, feed, cursor).delivered[0].seq == 30
    assert aside(kind) == []


def test_a_store_with_other_vectors_is_made_again(kind: Edge, tmp_path: Path) -> None:
    """A recipe whose vectors changed does not write into the old store."""
    with feed_of(tmp_path, 20) as feed:
        cursor = follow(kind, feed).cursor
        feed.steps.append(Step(3, "embed2", "vectors-2", {"dim": 9}))
        line = follow(kind, feed, cursor)
        assert line.delivered[0].seq == 0
        assert len(aside(kind)) == 1


def test_an_older_copy_goes_on_from_its_mark(kind: Edge, feed: Feed) -> None:
    """Only what the older copy lacks is delivered again."""
    cursor = follow(kind, feed).cursor
    kind.save()
    feed.add(10)
    cursor = follow(kind, feed, cursor).cursor
    kind.restore()
    line = follow(kind, feed, cursor)
    assert [message.seq for message in line.delivered] == [30, 40]
    assert aside(kind) == []


def test_the_mark_follows_the_flush(kind: Edge, feed: Feed) -> None:
    """What a store says of itself is what was reported."""
    line = follow(kind, feed)
    mark = msgspec.json.decode((kind.place / MARK).read_bytes(), type=Mark)
    assert (mark.seq, mark.vectors) == (30, {"embed": 8})
    assert msgspec.json.decode(line.cursor.token) == {"store": mark.store}


def test_filters_have_indexes(kind: Edge, feed: Feed) -> None:
    """Folder, time and job are looked up, not scanned; the vectors are compared by cosine."""
    follow(kind, feed)
    shard = qdrant_edge.EdgeShard.load(str(kind.place))
    assert set(shard.info().payload_schema) == {"dirs", "taken_at", "ingestd_job"}
    shard.close()


def test_a_content_that_loses_its_vector_loses_its_point(kind: Edge, feed: Feed) -> None:
    """No vector, no point, also when there was one."""
    cursor = follow(kind, feed).cursor
    assert len(kind.state()) == 27
    feed._db.execute("DELETE FROM result WHERE step_id = 3 AND content_id = 1")
    feed.rename(1)
    follow(kind, feed, cursor)
    assert len(kind.state()) == 26


def test_a_recipe_without_vectors(kind: Edge, tmp_path: Path) -> None:
    """There is nothing to hold: the cursor moves, a search is answered in words."""
    with feed_of(tmp_path, 10, dim=0) as feed:
        line = follow(kind, feed)
        assert line.cursor.seq == 10
        line = follow(kind, feed, line.cursor, script=[Search(1, "embed", vector(1), 1)])
        assert [message.seq for message in line.delivered] == [10]
        assert line.hits[0].error == "this store has no vectors named 'embed'"


def test_a_full_disk_is_waited_out(small_disk: SmallDisk, tmp_path: Path) -> None:
    """The engine dies of a full disk, so the sink stops before: in words, still searchable, on again by itself."""
    kind = Edge(tmp_path)
    kind.place = small_disk.folder / "store"
    with feed_of(tmp_path, 300) as feed, running("ingestd.sinks", FromSink) as child:
        child.expect(Hello)
        child.send(feed.setup("qdrant", kind.place))
        trouble = child.expect(Trouble)
        assert trouble.message == f"cannot open {kind.place}: disk full"
        assert trouble.remedy.startswith("Keep at least 256 MiB free on the volume that holds it")
        small_disk.resize("1g")
        seen = list(child.until(lambda message: isinstance(message, Delivered) and message.seq == 300))
        assert Trouble("", "", 0) in seen

        small_disk.resize("200m")
        feed.add(10)
        child.send(Grown(feed.end()))
        assert child.expect(Trouble).message == f"cannot write to {kind.place}: disk full"
        child.send(Search(1, "embed", vector(13), 3))
        assert len(child.expect(Hits).hits) == 3
        small_disk.resize("1g")
        *_, last = child.until(lambda message: isinstance(message, Delivered) and message.seq == 310)
        child.send(Finish())
        assert child.wait() == EXIT_OK
        assert kind.state() == kind.expected(feed)
        follow(kind, feed, Cursor(last.seq, last.token))
