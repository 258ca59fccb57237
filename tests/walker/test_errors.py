"""Folders and files that cannot be looked at: said, and nothing known there is marked gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingestd.ledger.reader import open_reader
from ingestd.protocol.walk import FromWalker, Listing, RootSpec, ScanEnd, WalkerSetup
from ingestd.protocol.work import Fatal, Hello
from ingestd.walker.outbox import Outbox
from ingestd.walker.scan import Scandir
from ingestd.walker.walk import Walk
from tests.childkit import running
from tests.daemon.house import NOT_ROOT, needs_permissions
from tests.walker.ledgerkit import MODULE, Ledger, Told, photo


def scandir_failing_at(folder: Path, *, after: int) -> Scandir:
    """A listing that breaks off with an I/O error in one folder, after some names: permissions do not stop root."""

    @contextmanager
    def failing(path: bytes) -> Iterator[Any]:
        with os.scandir(path) as entries:
            yield broken(entries) if path == bytes(folder) else entries

    def broken(entries: Iterator[Any]) -> Iterator[Any]:
        for _, entry in zip(range(after), entries, strict=False):
            yield entry
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    return failing


def walk_here(ledger: Ledger, root: RootSpec, scandir: Scandir) -> Told:
    """One walk in this process, with a listing that fails."""
    listings: list[Listing] = []

    def send(message: msgspec.Struct) -> None:
        assert isinstance(message, Listing)
        listings.append(message)

    with closing(open_reader(ledger.path)) as db:
        end = Walk(ledger.setup(root), db, Outbox(send, lambda timeout: None, 1000), scandir).run()
    for listing in listings:
        ledger.apply(listing)
    return Told(end, listings)


@pytest.mark.parametrize("after", [0, 1])
def test_a_listing_that_breaks_off_shields_its_folder_and_all_below(photos: Path, ledger: Ledger, after: int) -> None:
    """An error at any place of a listing: the folder tells nothing, the rest of the walk goes on."""
    for name in ("a.jpg", "bad/b.jpg", "bad/c.jpg", "bad/deep/d.jpg", "badly/e.jpg"):
        photo(photos / name)
    root = ledger.root(photos)
    ledger.walk(root)
    for name in ("bad/b.jpg", "badly/e.jpg"):
        (photos / name).unlink()
    photo(photos / "z.jpg")
    told = walk_here(ledger, root, scandir_failing_at(photos / "bad", after=after))
    assert told.new == [b"z.jpg"]
    assert ledger.live() == [b"a.jpg", b"bad/b.jpg", b"bad/c.jpg", b"bad/deep/d.jpg", b"z.jpg"]
    assert not told.end.complete
    (error,) = told.end.errors
    assert (error.path, error.is_root) == (bytes(photos / "bad"), False)
    assert "input/output error" in error.message
    told = ledger.walk(root)
    assert (told.end.complete, len(told.gone)) == (True, 1)


def test_a_root_whose_listing_fails_is_away(photos: Path, ledger: Ledger) -> None:
    """The same for the root itself."""
    photo(photos / "sub" / "a.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    told = walk_here(ledger, root, scandir_failing_at(photos, after=0))
    assert (told.gone, told.end.complete, told.end.errors[0].is_root) == ([], False, True)


def test_files_that_cannot_be_looked_at_stay_known(
    photos: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that may be listed and not searched: one error for it, its items neither gone nor changed."""
    for name in ("sub/a.jpg", "sub/b.jpg", "c.jpg"):
        photo(photos / name)
    root = ledger.root(photos)
    ledger.walk(root)
    real = os.stat

    def stat(path: Any, **options: Any) -> os.stat_result:
        if path in (b"a.jpg", b"b.jpg"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    told = walk_here(ledger, root, os.scandir)
    monkeypatch.undo()
    assert (told.gone, told.end.complete, told.end.found) == ([], False, 1)
    (error,) = told.end.errors
    assert error.path == bytes(photos / "sub" / "a.jpg")
    assert "permissions" in error.message


def test_a_path_too_long_for_the_system_is_an_error_of_its_folder(photos: Path, ledger: Ledger) -> None:
    """Deeper than any path can name: said once, and the walk goes on."""
    photo(photos / "z.jpg")
    here = os.open(photos, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    told = ledger.walk(ledger.root(photos))
    assert told.new == [b"z.jpg"]
    (error,) = told.end.errors
    assert error.message == "file name too long"
    assert not told.end.complete


def test_at_most_100_errors_are_told(photos: Path, ledger: Ledger) -> None:
    """A broken disk does not make a message of any size."""
    for i in range(120):
        photo(photos / f"{i:03}" / ".ingestignore", b"\\\n")
    told = ledger.walk(ledger.root(photos))
    assert len(told.end.errors) == 100
    assert told.end.errors[0].path == bytes(photos / "000")


def test_without_a_ledger_there_is_no_walk(photos: Path, tmp_path: Path) -> None:
    """A walker that cannot compare says so and exits 1; it never takes every file for new."""
    with running(MODULE, FromWalker) as child:
        child.expect(Hello)
        root = RootSpec(1, bytes(photos), 0)
        child.send(WalkerSetup(1, str(tmp_path / "absent.db"), [root], [], [], None, None))
        fatal = child.expect(Fatal)
        assert child.wait() == 1
    assert fatal.kind == "unavailable"
    assert "absent.db" in fatal.object


@needs_permissions
def test_a_walk_from_another_user(photos: Path, ledger: Ledger) -> None:
    """Without permission on a folder, by real permissions; root gives up its own."""
    photo(photos / "sub" / "a.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    (photos / "sub").chmod(0)
    try:
        told = ledger.walk(root, prefix=NOT_ROOT)
    finally:
        (photos / "sub").chmod(0o700)
    assert (told.gone, told.end.complete) == ([], False)
    assert isinstance(told.end, ScanEnd)
