"""What is an item and what is left out: extensions, hidden and system files, globs, ignore files."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from ingestd.protocol.walk import FromWalker
from ingestd.protocol.work import Fatal, Hello
from ingestd.walker.formats import classifier
from ingestd.walker.ignore import Filters, Ignores, read_ignores
from tests.childkit import running
from tests.walker.ledgerkit import MODULE, Ledger, photo


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"a.jpg", "image"),
        (b"A.JPEG", "image"),
        (b"\xff.TIFF", "image"),
        (b"a.b.avif", "image"),
        (b"a.mp4", "video"),
        (b"A.MOV", "video"),
        (b"a.xmp", "sidecar"),
        (b"a.jpg.json", "sidecar"),
        (b"Thumbs.db", "system"),
        (b"DESKTOP.INI", "system"),
        (b"jpg", "other"),
        (b"a.", "other"),
        (b"a.pdf", "other"),
        (b"a.heic", "image" if importlib.util.find_spec("pillow_heif") else "heic"),
        (b"a.CR3", "image" if importlib.util.find_spec("rawpy") else "raw"),
    ],
)
def test_kind_by_name(name: bytes, kind: str) -> None:
    """The extension alone decides, whatever its case."""
    assert classifier()(name) == kind


def test_skipped_is_counted_by_kind(photos: Path, ledger: Ledger) -> None:
    """What is no image is counted, never an item, never an error; a zero-byte image is an item."""
    for name in ("a.mp4", "b.mov", "a.xmp", "notes.pdf", "Thumbs.db", ".DS_Store", "._a.jpg", ".secret.jpg"):
        photo(photos / name)
    for name in ("@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", ".hidden/a.jpg", "$RECYCLE.BIN/a.jpg", "lost+found/a.jpg"):
        photo(photos / name)
    photo(photos / "empty.jpg", b"")
    told = ledger.walk(ledger.root(photos))
    assert told.new == [b"empty.jpg"]
    assert told.end.complete
    assert told.end.skipped == {"video": 2, "sidecar": 1, "other": 1, "system": 6, "hidden": 2}


def test_include_and_exclude(photos: Path, ledger: Ledger) -> None:
    """Globs hold for names and for paths below the root; a pattern for a folder holds for all in it."""
    for name in ("a.jpg", "b.png", "2019/c.jpg", "2019/raw/d.jpg", "2020/e.jpg", "#tmp/f.jpg"):
        photo(photos / name)
    root = ledger.root(photos)
    told = ledger.walk(root, include=["*.jpg"], exclude=["2019/raw", "#tmp"])
    assert told.new == [b"a.jpg", b"2019/c.jpg", b"2020/e.jpg"]
    assert told.end.skipped == {"excluded": 3}
    narrower = ledger.walk(root, include=["*.jpg"], exclude=["2019", "#tmp", str(photos / "a.jpg")])
    assert len(narrower.gone) == 2
    assert ledger.live() == [b"2020/e.jpg"]
    assert len(ledger.walk(root, include=["2019/**", "2020"]).again) == 1
    assert ledger.live() == [b"2019/c.jpg", b"2019/raw/d.jpg", b"2020/e.jpg"]


def test_globs_match_names_of_bad_bytes() -> None:
    """A name that is not UTF-8 matches by what can be matched of it."""
    filters = Filters(b"/r\xff", ["*.jpg"], ["caf\u00e9*"])
    assert not filters.leaves_out_file(b"d\xff/\xfe.jpg")
    assert filters.leaves_out_file(b"\xfe.png")
    assert filters.leaves_out_file("d/café.jpg".encode())


def test_a_pattern_that_is_none_is_said(photos: Path, ledger: Ledger) -> None:
    """The job cannot run with it: the child says which flag, and exits 1."""
    with running(MODULE, FromWalker) as child:
        child.expect(Hello)
        child.send(ledger.setup(ledger.root(photos), exclude=["\\"]))
        fatal = child.expect(Fatal)
        assert child.wait() == 1
    assert fatal.kind == "misconfigured"
    assert "--exclude" in fatal.object


def test_ignore_files(photos: Path, ledger: Ledger) -> None:
    """An ignore file holds from its folder down; a deeper one has the last word; a hidden folder is not looked into."""
    photo(photos / ".ingestignore", b"*.png\n/private/\n!keep.png\n# a comment\n")
    photo(photos / "sub" / ".ingestignore", b"\xef\xbb\xbfdraft*\r\n!b.png\r\n")
    for name in ("a.jpg", "a.png", "keep.png", "private/p.jpg", "sub/private/q.jpg", "sub/b.png", "sub/draft1.jpg"):
        photo(photos / name)
    root = ledger.root(photos)
    told = ledger.walk(root)
    assert told.new == [b"a.jpg", b"keep.png", b"sub/b.png", b"sub/private/q.jpg"]
    assert told.end.skipped == {"excluded": 3}
    assert told.end.complete
    (photos / ".ingestignore").unlink()
    assert ledger.walk(root).new == [b"a.png", b"private/p.jpg"]
    photo(photos / ".ingestignore", b"sub\n")
    assert len(ledger.walk(root).gone) == 2


def test_an_ignore_file_that_cannot_be_understood_keeps_its_folder_out(photos: Path, ledger: Ledger) -> None:
    """Nothing is read against its owner's wish, nothing known is marked gone, and the reason is said."""
    photo(photos / "sub" / "deep" / "a.jpg")
    photo(photos / "b.jpg")
    root = ledger.root(photos)
    ledger.walk(root)
    photo(photos / "sub" / ".ingestignore", b"\\\n")
    photo(photos / "sub" / "new.jpg")
    told = ledger.walk(root)
    assert (told.new, told.gone, told.end.complete) == ([], [], False)
    (error,) = told.end.errors
    assert error.path == bytes(photos / "sub")
    assert ".ingestignore" in error.message
    assert not error.is_root


def test_the_nearest_ignore_file_decides(tmp_path: Path) -> None:
    """Each file sees paths from its own folder; one without a say leaves it to the one above."""
    photo(tmp_path / ".ingestignore", b"*.jpg\n")
    photo(tmp_path / "a" / ".ingestignore", b"!/x.jpg\n")
    top = read_ignores(bytes(tmp_path), b"", None)
    inner = read_ignores(bytes(tmp_path) + b"/a", b"a", top)
    assert isinstance(inner, Ignores)
    assert not inner.hides(b"a/x.jpg", folder=False)
    assert inner.hides(b"a/b/x.jpg", folder=False)
    assert inner.hides(os.fsencode("a/\udcff.jpg"), folder=False)
