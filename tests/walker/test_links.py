"""Links: files through them are items, folders through them are listed once, loops lead nowhere."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.walker.ledgerkit import Ledger, photo


def test_links_to_files_are_items_with_their_targets_state(photos: Path, tmp_path: Path, ledger: Ledger) -> None:
    """The state is the target's, so that an edit behind the link is seen."""
    target = photo(tmp_path / "elsewhere" / "original.jpg", b"abc")
    (photos / "link.jpg").symlink_to(target)
    root = ledger.root(photos)
    told = ledger.walk(root)
    assert told.new == [b"link.jpg"]
    assert told.listings[0].entries[0].stat.inode == target.stat().st_ino
    photo(target, b"abcd")
    assert ledger.walk(root).again == [b"link.jpg"]


def test_a_dangling_link_is_skipped_and_counted(photos: Path, ledger: Ledger) -> None:
    """A link without a target is no item and no error."""
    (photos / "a.jpg").symlink_to(photos / "nowhere.jpg")
    photo(photos / "b.jpg")
    told = ledger.walk(ledger.root(photos))
    assert told.new == [b"b.jpg"]
    assert told.end.complete
    assert told.end.skipped == {"dangling link": 1}


def test_a_link_to_a_folder_of_a_disk_that_is_away_keeps_its_items(
    photos: Path, tmp_path: Path, ledger: Ledger
) -> None:
    """What is known below a link to a folder stays while the link leads nowhere."""
    disk = tmp_path / "disk"
    photo(disk / "sub" / "a.jpg")
    (photos / "disk").symlink_to(disk)
    root = ledger.root(photos)
    assert ledger.walk(root).new == [b"disk/sub/a.jpg"]
    disk.rename(tmp_path / "unplugged")
    assert ledger.walk(root).gone == []
    (photos / "disk").unlink()
    assert len(ledger.walk(root).gone) == 1


def test_folders_are_listed_under_their_real_path_first(photos: Path, ledger: Ledger) -> None:
    """A link that sorts before the folder it leads to does not take its files."""
    photo(photos / "z" / "a.jpg")
    (photos / "a-link").symlink_to(photos / "z")
    told = ledger.walk(ledger.root(photos))
    assert told.new == [b"z/a.jpg"]
    assert told.end.skipped == {"symlink loop": 1}
    assert told.end.complete


def test_a_folder_outside_is_followed_once(photos: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Two links to one folder outside list it under the first of them."""
    photo(tmp_path / "outside" / "sub" / "a.jpg")
    (photos / "l1").symlink_to(tmp_path / "outside")
    (photos / "l2").symlink_to(tmp_path / "outside")
    told = ledger.walk(ledger.root(photos))
    assert told.new == [b"l1/sub/a.jpg"]
    assert told.end.skipped == {"symlink loop": 1}


def test_loops_end(photos: Path, tmp_path: Path, ledger: Ledger) -> None:
    """Links to themselves, to each other and to folders above them lead nowhere, least of all out of the source."""
    photo(tmp_path / "secret" / "no.jpg")
    photo(photos / "sub" / "a.jpg")
    (photos / "self").symlink_to("self")
    (photos / "one").symlink_to("two")
    (photos / "two").symlink_to("one")
    (photos / "sub" / "up").symlink_to("..")
    (photos / "parent").symlink_to("../..")
    (photos / "z:").symlink_to("/")
    told = ledger.walk(ledger.root(photos))
    assert told.new == [b"sub/a.jpg"]
    assert told.end.skipped == {"symlink loop": 6}
    assert told.end.complete


def test_overlapping_roots_are_listed_once_by_the_outer(photos: Path, ledger: Ledger) -> None:
    """Whatever their order, a folder in two roots belongs to the outer; what the inner had before is gone from it."""
    photo(photos / "in" / "a.jpg")
    photo(photos / "b.jpg")
    outer, inner = ledger.root(photos), ledger.root(photos / "in")
    assert ledger.walk(inner).new == [b"a.jpg"]
    told = ledger.walk(inner, outer)
    assert {(listing.root_id, entry.name) for listing in told.listings for entry in listing.entries} == {
        (outer.id, b"a.jpg"),
        (outer.id, b"b.jpg"),
    }
    assert len(told.gone) == 1
    assert ledger.live() == [b"b.jpg", b"in/a.jpg"]
    assert ledger.walk(outer, inner).quiet


def test_a_hidden_root_inside_another_is_walked(photos: Path, ledger: Ledger) -> None:
    """What is asked for by name is not hidden."""
    photo(photos / ".in" / "a.jpg")
    told = ledger.walk(ledger.root(photos), ledger.root(photos / ".in"))
    assert told.new == [b"a.jpg"]


@pytest.mark.timeout(30)
def test_special_files_are_never_opened(photos: Path, ledger: Ledger) -> None:
    """A fifo, a socket, a device: opening one could block for ever."""
    os.mkfifo(photos / "pipe.jpg")
    (photos / "link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(photos / "s.png"))
        told = ledger.walk(ledger.root(photos))
    assert told.new == []
    assert told.end.skipped == {"special": 3}
    assert told.end.complete
