"""A walk tells differences from the ledger, nothing else; only a complete listing marks anything gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ingestd.ledger.sql import sql
from tests.walker.ledgerkit import Ledger, photo


def test_fresh_walk_tells_every_image_in_sorted_order(photos: Path, ledger: Ledger) -> None:
    """Files come before the folders beside them, each sorted by bytes, with their true state."""
    for name in ("b.jpg", "a.PNG", "sub/z.webp", "sub/deep/y.gif", "other/x.tiff"):
        photo(photos / name, b"12345")
    told = ledger.walk(ledger.root(photos))
    assert told.new == [b"a.PNG", b"b.jpg", b"other/x.tiff", b"sub/z.webp", b"sub/deep/y.gif"]
    assert (told.end.complete, told.end.limited, told.end.found, told.end.errors) == (True, False, 5, [])
    state = (photos / "a.PNG").stat()
    stat = told.listings[0].entries[0].stat
    assert (stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode) == (
        5,
        state.st_mtime_ns,
        state.st_ctime_ns,
        state.st_ino,
    )


def test_rescan_of_unchanged_files_tells_nothing(photos: Path, ledger: Ledger) -> None:
    """What is as the ledger has it is counted and not sent, not even as a listing."""
    for i in range(30):
        photo(photos / f"d{i % 3}" / f"{i}.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    again = ledger.walk(root)
    assert again.quiet
    assert again.listings == []
    assert again.end.found == 30


def test_edit_add_rename_delete(photos: Path, ledger: Ledger) -> None:
    """An edit is the same item again, a rename is one gone and one new, a deletion is gone."""
    for name in ("edited.jpg", "renamed.jpg", "deleted.jpg", "kept.jpg"):
        photo(photos / name)
    root = ledger.root(photos)
    ledger.walk(root)
    photo(photos / "edited.jpg", b"longer")
    (photos / "renamed.jpg").rename(photos / "moved.jpg")
    (photos / "deleted.jpg").unlink()
    photo(photos / "added.jpg")
    told = ledger.walk(root)
    assert told.new == [b"added.jpg", b"moved.jpg"]
    assert told.again == [b"edited.jpg"]
    assert len(told.gone) == 2
    assert told.end.found == 4
    assert ledger.live() == [b"added.jpg", b"edited.jpg", b"kept.jpg", b"moved.jpg"]
    assert ledger.walk(root).quiet


def test_same_size_and_time_but_another_file(photos: Path, ledger: Ledger) -> None:
    """A file replaced with its size and modification time kept is still noticed, by inode and change time."""
    path = photo(photos / "a.jpg", b"one")
    root = ledger.root(photos)
    ledger.walk(root)
    state = path.stat()
    other = photo(photos / "tmp.part", b"two")
    other.rename(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert ledger.walk(root).again == [b"a.jpg"]


def test_a_file_that_comes_back_is_its_old_item(photos: Path, ledger: Ledger) -> None:
    """A gone item returns under its own row, even when its state is the one known."""
    path = photo(photos / "a.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    hidden = path.rename(photos / ".a.jpg")
    assert len(ledger.walk(root).gone) == 1
    assert ledger.walk(root).quiet  # gone once, not at every walk
    hidden.rename(path)
    told = ledger.walk(root)
    assert (told.new, told.again) == ([], [b"a.jpg"])
    assert ledger.count() == 1


def test_a_deleted_folder_takes_all_below_it(photos: Path, ledger: Ledger) -> None:
    """Folders that the walk no longer comes to are gone with their items, a page at a time."""
    for i in range(700):
        photo(photos / "trip" / f"{i:03}.jpg")
    photo(photos / "trip" / "deep" / "a.jpg")
    photo(photos / "kept.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    shutil.rmtree(photos / "trip")
    told = ledger.walk(root)
    assert len(told.gone) == 701
    assert max(len(listing.gone) for listing in told.listings) <= 500
    assert ledger.live() == [b"kept.jpg"]
    assert ledger.walk(root).quiet


def test_an_emptied_root_is_empty(photos: Path, ledger: Ledger) -> None:
    """A root on its own device may lose its last file like any folder."""
    path = photo(photos / "a.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    path.unlink()
    told = ledger.walk(root)
    assert told.end.complete
    assert ledger.live() == []


def test_names_of_bad_bytes_survive(photos: Path, ledger: Ledger) -> None:
    """Names are bytes from end to end; folders too."""
    folder = bytes(photos) + b"/f\xff\xfeolder"
    os.mkdir(folder)
    for name in (b"\xc3\x28.jpg", b"new\nline.jpg", b"\xed\xa0\x80.PNG"):
        with open(folder + b"/" + name, "wb"):
            pass
    root = ledger.root(photos)
    told = ledger.walk(root)
    assert told.new == [
        b"f\xff\xfeolder/" + name for name in sorted([b"\xc3\x28.jpg", b"new\nline.jpg", b"\xed\xa0\x80.PNG"])
    ]
    assert ledger.walk(root).quiet


def test_pages_of_a_large_folder_meet(photos: Path, ledger: Ledger) -> None:
    """A folder of more files than one page of ledger rows compares like a small one, at the seams too."""
    for i in range(9000):
        (photos / f"{i:05}.jpg").touch()
    root = ledger.root(photos)
    told = ledger.walk(root)
    assert len(told.new) == 9000
    assert max(len(listing.entries) for listing in told.listings) == 500
    for name in ("00000.jpg", "08190.jpg", "08191.jpg", "08192.jpg", "08999.jpg"):
        (photos / name).unlink()
    (photos / "08191a.jpg").touch()
    (photos / "99999.jpg").touch()
    told = ledger.walk(root)
    assert (told.new, told.again, len(told.gone)) == ([b"08191a.jpg", b"99999.jpg"], [], 5)
    assert ledger.walk(root).quiet


def test_limit_ends_the_walk_and_a_later_one_goes_on(photos: Path, ledger: Ledger) -> None:
    """With a limit the first files in walk order are found; nothing beyond it is gone; without it the rest follows."""
    for i in range(10):
        photo(photos / f"d{i // 4}" / f"{i}.jpg")
    root = ledger.root(photos)
    told = ledger.walk(root, limit=5)
    assert told.new == [b"d0/0.jpg", b"d0/1.jpg", b"d0/2.jpg", b"d0/3.jpg", b"d1/4.jpg"]
    assert (told.end.limited, told.end.complete, told.end.found) == (True, False, 5)
    assert len(ledger.walk(root).new) == 5
    (photos / "d0" / "1.jpg").unlink()
    told = ledger.walk(root, limit=5)
    assert len(told.gone) == 1  # its folder was listed to the end
    assert len(ledger.live()) == 9
    assert ledger.walk(root, limit=9).quiet  # a limit that is just met ends nothing


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("dir_page", "item_place (dir_id=? AND name>?)"),
        ("live_page", "item_place (dir_id=? AND name>?)"),
        ("root_page", "sqlite_autoindex_dir_1 (root_id=? AND rel>?)"),
    ],
)
def test_a_folder_is_read_without_the_rest_of_the_job(ledger: Ledger, query: str, index: str) -> None:
    """Each of the walker's queries reads its page by an index and sorts nothing: else a walk is quadratic."""
    key = dict.fromkeys(("job_id", "root_id", "dir_id", "limit"), 1) | dict.fromkeys(("rel", "after", "start"), b"")
    plan = " ".join(row[3] for row in ledger.db.execute(f"EXPLAIN QUERY PLAN {sql(query)}", key))
    assert index in plan
    assert "TEMP B-TREE" not in plan


def test_two_jobs_of_one_folder_do_not_meet(photos: Path, ledger: Ledger) -> None:
    """Rows of another job in the same folder are neither compared nor marked gone."""
    photo(photos / "a.jpg")
    photo(photos / "sub" / "b.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    ledger.db.execute(
        "INSERT INTO job(id, uuid, name, roots, requested, sinks, status, created, changed)"
        " VALUES (2, 'w', 'm', '[]', '{}', '[]', 'queued', 0, 0)"
    )
    ledger.db.execute(
        "INSERT INTO item(job_id, dir_id, name, size, mtime_ns, ctime_ns, inode, state, todo)"
        " SELECT 2, id, x'7a2e6a7067', 1, 1, 1, 1, 'pending', 1 FROM dir"
    )
    shutil.rmtree(photos / "sub")
    told = ledger.walk(root)
    assert len(told.gone) == 1
    (n,) = ledger.db.execute("SELECT count(*) FROM item WHERE job_id = 2 AND state = 'pending'").fetchone()
    assert n == 2
