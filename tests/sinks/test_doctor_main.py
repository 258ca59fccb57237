"""What ``doctor`` sees of a sink without opening it: nothing that is there is changed by the look."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ingestd.protocol.doctor import Looked
from ingestd.sinks import base
from ingestd.sinks.base import Cursor
from ingestd.sinks.doctor_main import looked
from tests.sinks.conftest import SmallDisk
from tests.sinks.feedkit import Feed, feed_of
from tests.sinks.kinds import Server

COSINE = {"size": 8, "distance": "Cosine"}


def look(feed: Feed, kind: str, place: Path | str, *, served: bool = False) -> Looked:
    found = looked(3, feed.setup(kind, place), served)
    assert found.index == 3
    return found


def prints(folder: Path) -> dict[str, str]:
    """What lies in a folder, by name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: None, "its folder does not exist"),
        (lambda file: file.mkdir(parents=True), "it is not a regular file"),
    ],
)
def test_a_file_that_cannot_be(feed: Feed, tmp_path: Path, make: object, says: str) -> None:
    """What only a person can change."""
    file = tmp_path / "out" / "items.jsonl"
    make(file)  # type: ignore[operator]
    found = look(feed, "jsonl", file)
    assert (found.level, says in found.finding) == ("fail", True)
    assert found.remedy


def test_a_file(feed: Feed, tmp_path: Path, small_disk: SmallDisk) -> None:
    """It is written beside, not into; a full disk is seen by that."""
    file = tmp_path / "items.jsonl"
    assert "not there yet" in look(feed, "jsonl", file).finding
    file.write_text("{}\n")
    before = prints(tmp_path)
    assert look(feed, "jsonl", file).level == "ok"
    assert prints(tmp_path) == before
    small_disk.fill()
    full = look(feed, "jsonl", small_disk.folder / "items.jsonl")
    assert (full.level, "disk full" in full.finding) == ("fail", True), full


def test_a_server(feed: Feed, served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a collection, with one that fits, with one that does not, with a key, away: each in words; no write."""
    url = str(served.place)
    kit = served.kit
    assert "the collection is made at the first delivery" in look(feed, "qdrant-server", url).finding
    kit.create("fits", {"embed": COSINE})
    assert "answers, 0 points" in look(feed, "qdrant-server", f"{url}?collection=fits").finding
    kit.create("other", {"embed": {"size": 3, "distance": "Cosine"}})
    other = look(feed, "qdrant-server", f"{url}?collection=other")
    assert (other.level, "has 3 dimensions" in other.finding) == ("fail", True)
    kit.key = "secret-of-the-server"
    locked = look(feed, "qdrant-server", url)
    assert (locked.level, "API key" in locked.remedy) == ("fail", True)
    monkeypatch.setenv("INGESTD_QDRANT_KEY", kit.key)
    assert look(feed, "qdrant-server", url).level == "ok"
    assert {request.line.split()[0] for request in kit.requests} == {"GET"}
    kit.stop()
    away = look(feed, "qdrant-server", url)
    assert (away.level, "connection refused" in away.finding) == ("fail", True)


def test_a_kind_that_is_not_known(feed: Feed) -> None:
    """A job of a newer release."""
    assert look(feed, "paper", "/dev/printer").level == "warn"
