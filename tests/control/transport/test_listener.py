"""The socket's place: each way in which another could meddle with it is refused, and nothing is open for a moment."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.control.transport.listener import Listener
from ingestd.errors import IngestError, Misconfigured

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user: not tested")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def listener(run: Path) -> Iterator[Listener]:
    listener = Listener(run / "s.sock")
    listener.open()
    yield listener
    listener.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def refused(listener: Listener, words: str) -> None:
    with pytest.raises(Misconfigured, match=words) as caught:
        listener.open()
    assert caught.value.remedy
    assert listener.sock is None


def test_it_is_for_this_user_alone_whatever_the_umask(run: Path) -> None:
    """The folder and the socket are closed to others under a umask of 0, which is left as it was."""
    run.chmod(0o755)
    before = os.umask(0)
    try:
        listener = Listener(run / "s.sock")
        listener.open()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert (mode(run), mode(run / "s.sock")) == (0o700, 0o600)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(run / "s.sock"))
    listener.close()
    assert not (run / "s.sock").exists()


def test_a_folder_that_is_a_link_is_refused(run: Path, tmp_path: Path) -> None:
    """A link in the folder's place could lead anywhere tomorrow."""
    link = tmp_path / "link"
    link.symlink_to(run)
    refused(Listener(link / "s.sock"), "symbolic link")


def test_a_link_above_it_is_followed(run: Path, tmp_path: Path) -> None:
    """A home that lies on another disk behind a link of its owner is nobody's attack."""
    (tmp_path / "home").symlink_to(tmp_path)
    listener = Listener(tmp_path / "home" / "run" / "s.sock")
    listener.open()
    assert (run / "s.sock").exists()
    listener.close()


@needs_root
def test_a_folder_of_another_user_is_refused(run: Path) -> None:
    os.chown(run, NOBODY, NOBODY)
    refused(Listener(run / "s.sock"), "somebody else")


@needs_root
@pytest.mark.parametrize("deep", [False, True])
def test_a_folder_below_another_users_is_refused(tmp_path: Path, deep: bool) -> None:
    """``/tmp/ingestd-1000``, made by somebody else before us: he could put his own socket where clients look."""
    theirs = tmp_path / "ingestd-1000"
    theirs.mkdir(mode=0o777)
    os.chown(theirs, NOBODY, NOBODY)
    place = theirs / "ingestd-0123456789abcdef" / "ingestd.sock"
    refused(Listener(theirs / "between" / place.name if deep else place), "belongs to user nobody")


@needs_root
def test_a_link_of_another_user_on_the_way_is_refused(tmp_path: Path, run: Path) -> None:
    """In a sticky folder a link stays its owner's: he may let it lead elsewhere whenever he likes."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "link").symlink_to(tmp_path)
    os.lchown(shared / "link", NOBODY, NOBODY)
    refused(Listener(shared / "link" / "run" / "s.sock"), "belongs to user nobody")


def test_a_parent_that_everybody_may_write_needs_the_sticky_bit(tmp_path: Path) -> None:
    """Without it anybody could rename our folder and put another there; with it, as in /tmp, nobody can."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    refused(Listener(shared / "run" / "s.sock"), "everybody may write")
    shared.chmod(0o1777)
    listener = Listener(shared / "run" / "s.sock")
    listener.open()
    listener.close()


def test_only_one_daemon_listens_at_a_place(listener: Listener, run: Path) -> None:
    """Two daemons with states of their own may share a runtime folder: the second does not take the first's socket."""
    with pytest.raises(IngestError, match="another ingestd listens there"):
        Listener(run / "s.sock").open()
    assert listener.in_place()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(run / "s.sock"))


def test_a_stale_socket_is_replaced_and_a_file_is_not(run: Path) -> None:
    """What a killed daemon left is removed; anything that is no socket is somebody's, a link included."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(run / "s.sock"))
    listener = Listener(run / "s.sock")
    listener.open()
    listener.close()
    for make in (lambda path: path.write_text("mine"), lambda path: path.symlink_to(run / "elsewhere")):
        make(run / "s.sock")
        refused(Listener(run / "s.sock"), "no socket lies there")
        assert os.path.lexists(run / "s.sock")
        (run / "s.sock").unlink()


def test_what_was_put_in_its_place_is_noticed_and_not_removed(listener: Listener, run: Path) -> None:
    """A daemon that ends removes its own socket alone."""
    (run / "s.sock").unlink()
    assert not listener.in_place()
    (run / "s.sock").write_text("another's")
    assert not listener.in_place()
    listener.close()
    assert (run / "s.sock").read_text() == "another's"


def test_a_place_that_went_is_taken_anew(listener: Listener, run: Path) -> None:
    """A logout removes the runtime folder and all that is in it; the next login brings it back, empty."""
    assert listener.sock is not None
    old = listener.sock
    shutil.rmtree(run)
    assert not listener.in_place()
    listener.open()
    old.close()
    assert listener.in_place()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(run / "s.sock"))


# --------------------------------------------------------------------------------------------------- a reading group


def own_group() -> str:
    """The name of a group that this process is in."""
    try:
        return grp.getgrgid(os.getgid()).gr_name
    except KeyError:
        pytest.skip("NOT TESTED: the group of the user who runs the tests has no name")


@pytest.fixture
def open_path(tmp_path: Path) -> Iterator[None]:
    """Every folder above may be passed: pytest's own are its user's alone."""
    folders = [
        path for path in (tmp_path, *tmp_path.parents) if path.stat().st_uid == os.getuid() and path != Path("/")
    ]
    modes = [(path, mode(path)) for path in folders]
    for path, bits in modes:
        path.chmod(bits | 0o011)
    yield
    for path, bits in modes:
        path.chmod(bits)


@pytest.mark.usefixtures("open_path")
def test_a_reading_group_may_pass_and_connect(run: Path) -> None:
    """The folder 0750 and the socket 0660, of that group; without the group both are closed again."""
    listener = Listener(run / "s.sock", own_group())
    listener.open()
    assert (mode(run), mode(run / "s.sock")) == (0o750, 0o660)
    assert {run.stat().st_gid, (run / "s.sock").stat().st_gid} == {os.getgid()}
    listener.close()
    listener = Listener(run / "s.sock")
    listener.open()
    assert (mode(run), mode(run / "s.sock")) == (0o700, 0o600)
    listener.close()
    assert not list(run.iterdir())


@pytest.mark.usefixtures("open_path")
@needs_root
def test_a_reader_cannot_keep_the_next_daemon_out(run: Path) -> None:
    """Whoever can open a file can lock it: nothing that the group can open decides whether a daemon may listen."""
    listener = Listener(run / "s.sock", own_group())
    listener.open()
    groups = os.getgroups()
    os.setgroups([os.getgid()])
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        held = os.open(run, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in os.listdir(run):
            if name != "s.sock":  # which nobody can open, so nobody can lock
                with pytest.raises(PermissionError):
                    os.open(run / name, os.O_RDONLY)
    finally:
        os.setresuid(0, 0, 0)
        os.setgroups(groups)
    listener.close()
    listener.open()
    assert listener.in_place()
    listener.close()
    os.close(held)


def test_an_unknown_group_is_refused(run: Path) -> None:
    with pytest.raises(Misconfigured, match="no such group") as caught:
        Listener(run / "s.sock", "no-such-group")
    assert "groupadd no-such-group" in caught.value.remedy


@pytest.mark.usefixtures("open_path")
def test_a_group_without_this_user_is_refused(run: Path) -> None:
    """Who is not in a group cannot give it anything; root, who can, is made somebody else for this."""
    other = next(group.gr_name for group in grp.getgrall() if group.gr_gid not in {os.getgid(), *os.getgroups()})
    listener = Listener(run / "s.sock", other)
    if os.geteuid() == 0:
        os.chown(run, NOBODY, NOBODY)
        groups, gid = os.getgroups(), os.getegid()
        os.setgroups([])
        os.setegid(NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            refused(listener, "is not in it")
        finally:
            os.setresuid(0, 0, 0)
            os.setegid(gid)
            os.setgroups(groups)
    else:
        refused(listener, "is not in it")
    assert mode(run) == 0o700


@pytest.mark.usefixtures("open_path")
def test_a_folder_that_the_group_cannot_pass_is_named(run: Path, tmp_path: Path) -> None:
    """A reading group that cannot get to the socket is no reading group: the folder in the way, and what to do."""
    tmp_path.chmod(0o700)
    listener = Listener(run / "s.sock", own_group())
    with pytest.raises(Misconfigured) as caught:
        listener.open()
    assert f"cannot pass {tmp_path}" in caught.value.message
    assert f"chmod g+x {tmp_path}" in caught.value.remedy
    assert mode(run) == 0o700


@pytest.mark.usefixtures("open_path")
def test_a_filter_that_forbids_chown_is_told_apart(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's unit lets nobody change owners, whatever groups its user is in: the remedy is another one then."""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", forbidden)
    listener = Listener(run / "s.sock", own_group())
    with pytest.raises(Misconfigured, match="service manager forbids") as caught:
        listener.open()
    assert "SystemCallFilter=@chown" in caught.value.remedy
    assert mode(run) == 0o700
