"""The file itself: what is cut, what is moved aside, what a full disk and other programs do to it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestd.errors import EXIT_OK, Misconfigured
from ingestd.protocol.sink import Delivered, FromSink, Trouble
from ingestd.protocol.work import Finish, Hello
from ingestd.sinks.base import Cursor
from ingestd.testing.feed import Feed, feed_of
from ingestd.testing.following import follow
from ingestd.testing.sink_places import NEW, JsonlPlace
from tests.childkit import running
from tests.sinks.conftest import SmallDisk


@pytest.fixture
def kind(tmp_path: Path) -> JsonlPlace:
    return JsonlPlace(tmp_path)


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    with feed_of(tmp_path, 20) as feed:
        yield feed


def aside(kind: JsonlPlace) -> list[Path]:
    return sorted(kind.place.parent.glob(f"{kind.place.name}.aside-*"))


def test_a_tail_beyond_the_token_is_cut(kind: JsonlPlace, feed: Feed) -> None:
    """A page that was never reported, torn or whole, goes; nothing is moved or written again."""
    cursor = follow(kind, feed).cursor
    before = kind.place.read_bytes()
    with kind.place.open("ab") as file:
        file.write(b'{"id":"torn')
    line = follow(kind, feed, cursor)
    assert line.cursor == cursor
    assert kind.place.read_bytes() == before
    assert aside(kind) == []


def _cut(place: Path) -> None:
    os.truncate(place, place.stat().st_size - 1)


def _change_last_line(place: Path) -> None:
    with place.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"X")


def _copy(place: Path) -> None:
    data = place.read_bytes()
    other = place.with_name("copy")
    other.write_bytes(data)
    os.rename(other, place)


@pytest.mark.parametrize("harm", [_cut, _change_last_line, _copy], ids=["shorter", "last line", "other inode"])
def test_a_file_that_is_not_the_cursors_is_moved_aside(
    kind: JsonlPlace, feed: Feed, harm: Callable[[Path], None]
) -> None:
    """It is kept under another name beside it, and everything is written again."""
    cursor = follow(kind, feed).cursor
    harm(kind.place)
    harmed = kind.place.read_bytes()
    line = follow(kind, feed, cursor)
    assert line.delivered[0].seq == 0
    assert kind.state() == kind.expected(feed)
    assert [path.read_bytes() for path in aside(kind)] == [harmed]


def test_a_users_file_is_never_overwritten(kind: JsonlPlace, feed: Feed) -> None:
    """A new sink that finds a file there moves it aside, each time under a name of its own."""
    for text in ("first", "second"):
        kind.place.write_text(text)
        follow(kind, feed)
        assert kind.state() == kind.expected(feed)
    assert sorted(path.read_text()[:6] for path in aside(kind)) == ["first", "second"]


def test_a_token_that_cannot_be_read_is_no_token(kind: JsonlPlace, feed: Feed) -> None:
    """Another version's or a damaged token means: write it again."""
    follow(kind, feed)
    assert follow(kind, feed, Cursor(5, "rubbish")).delivered[0].seq == 0


def test_an_empty_file_is_adopted(kind: JsonlPlace, feed: Feed) -> None:
    """``touch`` before the first start is no reason for a file aside."""
    kind.place.touch()
    follow(kind, feed)
    assert kind.state() == kind.expected(feed)
    assert aside(kind) == []


def test_killed_before_the_first_page_leaves_nothing_aside(kind: JsonlPlace, feed: Feed) -> None:
    """The first ``Delivered`` names the empty file, so that a page nobody reported is cut, not moved aside."""
    line = follow(kind, feed)
    follow(kind, feed, Cursor(line.delivered[0].seq, line.delivered[0].token))
    assert kind.state() == kind.expected(feed)
    assert aside(kind) == []


def test_a_deletion_is_a_line(kind: JsonlPlace, feed: Feed) -> None:
    """Readers fold the log: the last line of an ``id`` wins."""
    cursor = follow(kind, feed).cursor
    feed.delete(3)
    follow(kind, feed, cursor)
    last = kind.lines()[-1]
    assert last.keys() == {"id", "deleted"}
    assert last["deleted"] is True
    assert len(kind.lines()) == 21


@pytest.mark.parametrize("place", ["absent/file.jsonl", "."], ids=["no folder", "a folder"])
def test_a_place_that_cannot_be_a_file(tmp_path: Path, feed: Feed, place: str) -> None:
    """A sentence with object and remedy, and nothing is made."""
    kind = JsonlPlace(tmp_path)
    kind.place = tmp_path / place
    with pytest.raises(Misconfigured) as raised:
        follow(kind, feed)
    assert str(kind.place) in raised.value.sentence()
    assert not (tmp_path / "absent").exists()


def test_a_fifo_is_refused(kind: JsonlPlace, feed: Feed) -> None:
    """Nothing that could block for ever is opened."""
    os.mkfifo(kind.place)
    with pytest.raises(Misconfigured):
        follow(kind, feed)


def test_other_programs_may_not_write(kind: JsonlPlace, feed: Feed) -> None:
    """A file that is replaced while it is open is noticed before the next page."""
    setup = kind.setup(feed)
    sink = kind.make(setup)
    line = follow(kind, feed, sink=sink)
    sink.open(line.cursor)
    os.rename(kind.place, kind.place.with_name("rotated"))
    feed.add(5)
    line = follow(kind, feed, line.cursor, sink=sink)
    assert [trouble.message for trouble in line.troubles] == [
        f"cannot write to {kind.place}: another program changed the file",
        "",
    ]
    assert kind.state() == kind.expected(feed)


def test_a_full_disk_is_waited_out(small_disk: SmallDisk, tmp_path: Path) -> None:
    """Trouble in words, whole lines only, nothing reported that is not there; space comes, it goes on by itself."""
    kind = JsonlPlace(tmp_path)
    kind.place = small_disk.folder / "photos.jsonl"
    with feed_of(tmp_path, 600) as feed, running("ingestd.sinks", FromSink) as child:
        child.expect(Hello)
        child.send(feed.setup("jsonl", kind.place))
        *delivered, trouble = child.until(lambda message: isinstance(message, Trouble))
        assert trouble.message == f"cannot write to {kind.place}: disk full"
        assert trouble.remedy == "Free space on the volume that holds it; delivery goes on by itself"
        assert len(kind.lines()) == delivered[-1].seq
        small_disk.resize("8m")
        seen = list(child.until(lambda message: message == Delivered(600, getattr(message, "token", ""))))
        assert Trouble("", "", 0) in seen
        child.send(Finish())
        assert child.wait() == EXIT_OK
        assert kind.state() == kind.expected(feed)
        assert json.loads(seen[-1].token)["offset"] == kind.place.stat().st_size
        assert aside(kind) == []


def test_new_is_new(kind: JsonlPlace, feed: Feed) -> None:
    """The line's ``id`` does not depend on when or how often it is written."""
    follow(kind, feed, NEW)
    first = kind.place.read_bytes()
    kind.lose()
    follow(kind, feed, NEW)
    assert kind.place.read_bytes() == first
