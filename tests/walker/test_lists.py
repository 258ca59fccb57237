"""File lists: what is listed by name is an item, in any order, once; what is listed no more is gone."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ingestd.protocol.walk import RootSpec
from ingestd.walker import lists
from ingestd.walker.lists import FileList, normal
from tests.walker.ledgerkit import Ledger, Told, photo


class Listed:
    """A file list and the walks of its job."""

    def __init__(self, ledger: Ledger, file: Path) -> None:
        self.ledger, self.file = ledger, file
        self.root: RootSpec = ledger.root(b"/")

    def walk(self, lines: Iterable[Path | bytes], end: bytes = b"\n", **changes: Any) -> Told:
        self.file.write_bytes(b"".join(bytes(line) + end for line in lines))
        return self.ledger.walk(self.root, list_file=str(self.file), **changes)


@pytest.fixture
def listed(tmp_path: Path, ledger: Ledger) -> Listed:
    return Listed(ledger, tmp_path / "list")


def contents(entries: FileList) -> list[tuple[bytes, list[bytes]]]:
    with entries:
        return [(folder, entries.names(folder)) for folder in entries.folders]


def below(path: Path) -> bytes:
    """As an item of the root ``/`` has it."""
    return bytes(path)[1:]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"/a/b.jpg", b"/a/b.jpg"),
        (b"//a//b.jpg", b"/a/b.jpg"),
        (b"/a/./b.jpg", b"/a/b.jpg"),
        (b"/a/x/../b.jpg", b"/a/b.jpg"),
        (b"/../a/", b"/a"),
        (b"/a/.b.jpg", b"/a/.b.jpg"),
        (b"/", b"/"),
    ],
)
def test_normal(path: bytes, text: bytes) -> None:
    """One file has one text, without looking at the disk."""
    assert normal(path) == text


def test_a_list_is_grouped_and_without_doubles(tmp_path: Path) -> None:
    """Folders interleaved, lines repeated, lines that are no path, no newline at the end."""
    file = tmp_path / "list"
    file.write_bytes(b"/b/2.jpg\n/a/1.jpg\n\n/b/1.jpg\nrelative.jpg\n/b/2.jpg\n/a/\0.jpg\n/b/./1.jpg\n/c.jpg")
    entries = FileList(str(file))
    assert contents(entries) == [(b"", [b"c.jpg"]), (b"a", [b"1.jpg"]), (b"b", [b"1.jpg", b"2.jpg"])]
    assert entries.bad == 2


@given(
    paths=st.lists(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=3), max_size=30),
    run_bytes=st.integers(1, 40),
    runs_open=st.integers(1, 5),
)
def test_runs_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[bytes]], run_bytes: int, runs_open: int
) -> None:
    """Sorted in memory or in many files, a list says the same, whatever bytes its names are made of."""
    file = tmp_path_factory.mktemp("list") / "list.nul"
    lines = [b"/" + b"/".join(part.translate(None, b"/\0") or b"x" for part in path) for path in paths]
    file.write_bytes(b"\0".join(lines))
    expected: dict[bytes, set[bytes]] = {}
    for line in lines:
        folder, _, name = normal(line).rpartition(b"/")
        expected.setdefault(folder[1:], set()).add(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "_OPEN", runs_open)
        found = contents(FileList(str(file), run_bytes))
    assert found == [(folder, sorted(names)) for folder, names in sorted(expected.items())]
    assert len(list(file.parent.iterdir())) == 1, "what was sorted beside it is gone"


def test_a_long_list_is_not_held_in_memory(tmp_path: Path) -> None:
    """A list of 20 MB costs the walker one run and its folders, not 20 MB and more."""
    file = tmp_path / "list"
    with file.open("wb") as lines:
        for i in range(300_000):
            lines.write(b"/photos/a long folder's name, as albums have them/%03d/IMG_%08d.jpg\n" % (i % 500, i))
    code = (
        "import sys; from ingestd.walker.lists import FileList\n"
        "def peak(): return int(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))\n"
        "before = peak(); listed = FileList(sys.argv[1])\n"
        "print(sum(len(listed.names(f)) for f in listed.folders), peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    count, kilobytes = map(int, done.stdout.split())
    assert count == 300_000
    assert kilobytes < 16_000


def test_lines_that_end_as_on_windows(photos: Path, listed: Listed) -> None:
    """A list with CR LF means the same files; in one with LF a name may end with CR."""
    paths = [photo(photos / "a.jpg"), photo(photos / "b.jpg")]
    assert listed.walk(paths, end=b"\r\n").new == [below(path) for path in paths]
    assert listed.walk([*paths, b"", b""], end=b"\r\n").end.skipped == {}
    photo(photos / "c.tar\r")
    assert listed.walk([*paths, bytes(photos) + b"/c.tar\r"]).end.skipped == {"other": 1}


def test_a_list_in_any_order(photos: Path, listed: Listed) -> None:
    """A shuffled list of several folders tells each file once; the same list again tells nothing."""
    paths = [photo(photos / f"d{i % 7}" / f"{i}.jpg") for i in range(700)]
    random.Random(1).shuffle(paths)
    told = listed.walk([*paths, *paths[:50]])
    assert sorted(told.new) == sorted(below(path) for path in paths)
    assert (told.end.complete, told.end.found) == (True, 700)
    assert listed.walk(reversed(paths)).quiet


def test_nul_separated_and_bad_bytes(photos: Path, ledger: Ledger, tmp_path: Path) -> None:
    """With NUL as end, a newline is part of a name; bytes survive."""
    names = [b"a\nb.jpg", b"\xff.jpg"]
    for name in names:
        with open(bytes(photos) + b"/" + name, "wb"):
            pass
    told = Listed(ledger, tmp_path / "list.nul").walk([bytes(photos) + b"/" + name for name in names], end=b"\0")
    assert told.new == [below(photos) + b"/" + name for name in names]


def test_what_is_not_there_is_still_an_item(photos: Path, listed: Listed) -> None:
    """The worker fails it by name, instead of nobody saying anything; when it comes it is told again."""
    there = photo(photos / "there.jpg")
    (photos / "dangling.jpg").symlink_to(photos / "nowhere")
    absent = [photos / "absent.jpg", photos / "nofolder" / "x.png", photos / "dangling.jpg"]
    told = listed.walk([there, *absent])
    assert told.end.complete
    stats = {entry.name: entry.stat.inode for listing in told.listings for entry in listing.entries}
    assert stats == {b"there.jpg": there.stat().st_ino, b"absent.jpg": 0, b"x.png": 0, b"dangling.jpg": 0}
    assert listed.walk([there, *absent]).quiet
    photo(photos / "absent.jpg")
    assert listed.walk([there, *absent]).again == [below(photos / "absent.jpg")]


def test_extensions_filters_and_hidden_names(photos: Path, listed: Listed) -> None:
    """What is no image by name is counted; filters hold; a hidden file that is asked for is no secret."""
    paths = [photo(photos / name) for name in ("a.jpg", "b.mp4", "c.xmp", "d.pdf", ".e.jpg", "f.png")]
    (photos / "dir.jpg").mkdir()
    told = listed.walk([*paths, b"not/absolute.jpg"], exclude=["*.png"])
    assert sorted(told.new) == [below(photos / ".e.jpg"), below(photos / "a.jpg")]
    assert told.end.skipped == {"video": 1, "sidecar": 1, "other": 1, "excluded": 1, "not a path": 1}
    assert told.end.complete


def test_what_is_listed_no_more_is_gone(photos: Path, listed: Listed) -> None:
    """Only by a list that was read to its end and not cut by a limit; files still on disk or not."""
    paths = [photo(photos / name) for name in ("x/a.jpg", "x/b.jpg", "y/c.jpg", "z/d.jpg")]
    listed.walk(paths)
    told = listed.walk(paths[:1], limit=0)
    assert (told.gone, told.end.limited) == ([2], True)  # the folder x was compared by names, y and z not at all
    told = listed.walk(paths[:1])
    assert (len(told.gone), told.end.complete) == (2, True)
    assert listed.ledger.live() == [below(paths[0])]


def test_a_list_that_is_away_marks_nothing_gone(photos: Path, listed: Listed) -> None:
    """A list that cannot be read says nothing about its items."""
    listed.walk([photo(photos / "a.jpg")])
    told = listed.ledger.walk(listed.root, list_file=str(listed.file) + ".absent")
    assert (told.gone, told.end.complete, told.end.errors[0].is_root) == ([], False, True)


def test_a_listed_folder_is_walked(photos: Path, tmp_path: Path, listed: Listed) -> None:
    """As a source would be; names listed in it belong to the same comparison, hidden ones too."""
    trip = photos / "trip"
    for name in ("a.jpg", ".b.jpg", ".c.jpg", "deep/d.jpg"):
        photo(trip / name)
    other = photo(photos / "e.jpg")
    photo(tmp_path / "outside" / "f.jpg")
    (photos / "link").symlink_to(tmp_path / "outside")
    photo(photos / "odd.jpg" / "g.jpg")
    lines = [trip / ".b.jpg", trip, other, trip / "a.jpg", photos / "link", photos / "odd.jpg"]
    told = listed.walk(lines)
    expected = ["e.jpg", "link/f.jpg", "odd.jpg/g.jpg", "trip/.b.jpg", "trip/a.jpg", "trip/deep/d.jpg"]
    assert sorted(told.new) == [below(photos / name) for name in expected]
    assert told.end.complete
    assert listed.walk(lines).quiet


def test_a_listed_folder_that_is_away_keeps_its_items(photos: Path, listed: Listed) -> None:
    """A line without an image's extension that leads nowhere may be a disk that is not mounted."""
    photo(photos / "trip" / "deep" / "a.jpg")
    kept = photo(photos / "b.jpg")
    listed.walk([photos / "trip", kept])
    (photos / "trip").rename(photos / "elsewhere")
    told = listed.walk([photos / "trip", kept])
    assert (told.gone, told.end.complete) == ([], False)
    assert told.end.errors[0].path == bytes(photos / "trip")
