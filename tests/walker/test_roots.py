"""Source paths: what resolving says, and what a walk does when one is away."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ingestd.protocol.walk import FromWalker, ResolveRoots, RootsResolved
from ingestd.protocol.work import Finish, Hello
from ingestd.walker.roots import Inodes, file_system
from tests.childkit import running
from tests.walker.ledgerkit import MODULE, Ledger, photo


def resolved(*paths: Path | bytes) -> RootsResolved:
    with running(MODULE, FromWalker) as child:
        assert child.expect(Hello).kind == "walker"
        child.send(ResolveRoots([bytes(path) for path in paths]))
        answer = child.expect(RootsResolved)
        assert child.wait() == 0
    assert isinstance(answer, RootsResolved)
    return answer


def test_resolve(photos: Path, tmp_path: Path) -> None:
    """Answers come in the order asked, canonical, each with its device or a sentence."""
    file = photo(tmp_path / "one.JPG")
    link = tmp_path / "link"
    link.symlink_to(photos)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    fifo = tmp_path / "fifo.jpg"
    os.mkfifo(fifo)
    text = photo(tmp_path / "a.pdf")
    answers = resolved(link, file, tmp_path / "absent", loop, fifo, text, b"/bad\0byte").roots
    folder, single, *bad = answers
    assert (folder.path, folder.is_dir, folder.error) == (bytes(photos.resolve()), True, "")
    assert folder.device == photos.stat().st_dev
    assert folder.fs != "" or not os.path.exists("/proc/self/mountinfo")
    assert (single.path, single.is_dir, single.error) == (bytes(file.resolve()), False, "")
    for answer, path, words in zip(
        bad,
        [bytes(tmp_path / "absent"), bytes(loop), bytes(fifo), bytes(text), b"/bad\0byte"],
        ["no such file or folder", "circle", "neither a folder", "extension of an image", "zero byte"],
        strict=True,
    ):
        assert answer.path == path
        assert words in answer.error


def test_finish_before_any_work_is_a_clean_end() -> None:
    """A daemon that changes its mind gets an exit, not a hang."""
    with running(MODULE, FromWalker) as child:
        child.expect(Hello)
        child.send(Finish())
        assert child.wait() == 0


def test_file_system_is_of_the_longest_mount(tmp_path: Path) -> None:
    """The deepest mount point above a path says what it lies on; blanks in it are written in octal there."""
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(
        b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        b"30 22 0:40 / /mnt/my\\040nas rw - nfs4 nas:/x rw\n"
        b"31 22 0:41 / /mnt rw - tmpfs tmpfs rw\n"
        b"32 30 0:42 / /mnt/my\\040nas/usb rw shared:2 master:1 - vfat /dev/sdb1 rw\n"
        b"33 22 0:43 / /over rw - ext4 /dev/sdc rw\n"
        b"34 22 0:44 / /over rw - fuse.sshfs host: rw\n"
    )
    expected = {
        b"/home": "ext4",
        b"/mnt/my nas": "nfs4",
        b"/mnt/my nasty": "tmpfs",
        b"/mnt/my nas/usb/DCIM": "vfat",
        b"/over/x": "fuse.sshfs",
    }
    assert {path: file_system(path, str(mounts)) for path in expected} == expected
    assert file_system(b"/home", str(tmp_path / "absent")) == ""


@pytest.mark.parametrize(("name", "stable"), [("ext4", True), ("nfs4", True), ("vfat", False), ("fuse.sshfs", False)])
def test_where_inodes_mean_something(name: str, stable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems that make inode numbers up, they say nothing; the device is looked up once."""
    asked = []

    def looked_up(path: bytes) -> str:
        asked.append(path)
        return name

    monkeypatch.setattr("ingestd.walker.roots.file_system", looked_up)
    inodes = Inodes()
    assert [inodes.stable(7, b"/a"), inodes.stable(7, b"/a/b")] == [stable, stable]
    assert len(asked) == 1


def test_an_absent_root_marks_nothing_gone(photos: Path, tmp_path: Path, ledger: Ledger) -> None:
    """The root is reported, the other root is walked, and everything known stays."""
    photo(photos / "sub" / "a.jpg")
    photo(tmp_path / "second" / "b.jpg")
    roots = ledger.root(photos), ledger.root(tmp_path / "second")
    ledger.walk(*roots)
    photos.rename(tmp_path / "away")
    photo(tmp_path / "second" / "c.jpg")
    told = ledger.walk(*roots)
    assert (told.new, told.gone, told.end.complete) == ([b"c.jpg"], [], False)
    (error,) = told.end.errors
    assert (error.path, error.is_root) == (bytes(photos), True)
    assert "no such file or folder" in error.message
    (tmp_path / "away").rename(photos)
    assert ledger.walk(*roots).quiet


def test_an_empty_root_on_another_device_is_an_unmounted_one(photos: Path, ledger: Ledger) -> None:
    """The folder under a mount point, with nothing but hidden files in it, marks nothing gone."""
    photo(photos / "a.jpg")
    ledger.walk(ledger.root(photos))
    shutil.rmtree(photos)
    photo(photos / ".unmounted")
    told = ledger.walk(ledger.root(photos, device=photos.stat().st_dev + 1))
    assert (told.gone, told.end.complete) == ([], False)
    (error,) = told.end.errors
    assert error.is_root
    assert "mount the disk" in error.message
    photo(photos / "b.jpg")  # not empty: the same disk under another number, as after a reboot
    told = ledger.walk(ledger.root(photos, device=photos.stat().st_dev + 1))
    assert (told.new, len(told.gone), told.end.complete) == ([b"b.jpg"], 1, True)


def test_single_files_as_sources(photos: Path, ledger: Ledger) -> None:
    """Two files of one folder are two roots of one row; the folder's other files do not belong to the job."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(photos / name)
    roots = [ledger.root(photos, only=b"a.jpg"), ledger.root(photos, only=b"b.jpg")]
    told = ledger.walk(*roots)
    assert told.new == [b"a.jpg", b"b.jpg"]
    assert ledger.walk(*roots).quiet
    photo(photos / "b.jpg", b"edited")
    assert ledger.walk(*roots).again == [b"b.jpg"]
    (photos / "b.jpg").unlink()
    told = ledger.walk(*roots)
    assert (told.gone, told.end.complete) == ([], False)
    assert told.end.errors[0].is_root
    assert len(ledger.walk(roots[0]).gone) == 1


def test_a_single_file_inside_a_root_is_one_item(photos: Path, ledger: Ledger) -> None:
    """A file named beside a folder that holds it is listed by the folder."""
    photo(photos / "sub" / "a.jpg")
    told = ledger.walk(ledger.root(photos / "sub", only=b"a.jpg"), ledger.root(photos))
    assert told.new == [b"sub/a.jpg"]
    assert told.end.complete
