"""Makes the control socket, in a folder where only the right users can reach it.

The folder belongs to this user alone until everything in it is set up, so others can never come in between. The umask
is not changed: it holds for the whole process, and the ledger's thread needs it. Every step uses the folder's
descriptor, so a folder that somebody puts in its place is noticed and not used. A lock on a file beside the socket says
that a daemon runs; the kernel releases it when the daemon ends, however it ends. Only this user can open that file:
a lock on the folder itself could be taken by a reader, which would keep the next daemon from starting.
"""

from __future__ import annotations

import fcntl
import grp
import os
import socket
import stat
from pathlib import Path
from typing import Final

from ingestd.control.transport.peer import user_name
from ingestd.errors import AlreadyRunning, Misconfigured

QUEUE: Final = 256
"""Connections that the kernel holds until they are accepted. A new client waits behind all of them, about 0.1 ms for
each: a short queue makes a script with thousands of connections wait in ``connect``, and not everybody behind it. Too
short a queue would refuse clients that connect without waiting."""

_HOME: Final = "or set INGESTD_HOME to a folder elsewhere"


class Listener:
    """One listening socket with its folder. ``group``: the name of the group whose members may read, or empty."""

    def __init__(self, path: Path, group: str = "") -> None:
        self.path = path
        self.group = group
        self.readers = _group_id(group)
        self._folder = self._held = -1
        self._ours: tuple[int, int] | None = None
        self.sock: socket.socket | None = None

    def open(self) -> None:
        """Bind, listen and set ``sock``. It may be called again, when the socket is no longer in its place.

        Raises ``Misconfigured`` for a place that is not safe, or that the reading group cannot reach, and
        ``AlreadyRunning`` where another daemon listens.
        """
        self._release()
        self._folder = _safe_folder(self.path.parent)
        try:
            self._lock()
            self.sock = self._bind()
        except BaseException:
            self._release()
            raise

    def in_place(self) -> bool:
        """Whether clients still find this socket at its path: a logout removes the runtime folder."""
        return self._ours is not None and _identity(self.path) == self._ours

    def close(self) -> None:
        """Stop listening, remove the socket if it is still this one, and release the lock."""
        if self.in_place():
            os.unlink(self.path)
        if self.sock is not None:
            self.sock.close()
        if self._holds():
            os.unlink(self._lock_name, dir_fd=self._folder)
        self._release()

    def _release(self) -> None:
        self._ours = None
        for descriptor in (self._folder, self._held):
            if descriptor >= 0:
                os.close(descriptor)
        self._folder = self._held = -1

    @property
    def _lock_name(self) -> str:
        return f"{self.path.name}.lock"

    def _lock(self) -> None:
        while not self._holds():  # a daemon that ends removes the file, and a lock on it then holds nothing
            if self._held >= 0:
                os.close(self._held)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                self._held = os.open(self._lock_name, flags, 0o600, dir_fd=self._folder)
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(
                    "another ingestd listens there, with its state elsewhere",
                    operation="listen on", object=str(self.path),
                    remedy="Give each daemon an INGESTD_HOME of its own, or end the other one: ingestctl shutdown",
                ) from None  # fmt: skip
            except OSError as error:
                raise _cannot(
                    error.strerror or str(error), self.path, f"Check that its folder may be written, {_HOME}"
                ) from error

    def _holds(self) -> bool:
        """Whether the locked file is still the one that another daemon would try to lock."""
        if self._held < 0:
            return False
        info = os.fstat(self._held)
        return _identity(self._lock_name, self._folder) == (info.st_dev, info.st_ino)

    def _bind(self) -> socket.socket:
        name, here = self.path.name, self._folder
        os.fchmod(here, 0o700)
        _clear(self.path, here)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(os.fsencode(self.path))
            os.chmod(name, 0o600, dir_fd=here)  # not found: the folder is another one by now
            if self.readers is not None:
                self._let_read(name, here, self.readers)
            sock.listen(QUEUE)
            sock.setblocking(False)
            self._ours = _identity(name, here)
        except OSError as error:
            sock.close()
            raise _cannot(
                error.strerror or str(error), self.path, f"Check that its folder may be written, {_HOME}"
            ) from error
        except BaseException:
            sock.close()
            raise
        return sock

    def _let_read(self, name: str, here: int, readers: int) -> None:
        """Open socket and folder to the group. The socket comes first, while nobody can enter the folder yet."""
        _check_reachable(self.path.parent, self.group, readers)
        try:
            os.chown(name, -1, readers, dir_fd=here)
            os.fchown(here, -1, readers)
        except PermissionError as error:
            raise _cannot_give(self.group, readers) from error
        os.chmod(name, 0o660, dir_fd=here)
        os.fchmod(here, 0o750)


def check_place(path: Path, group: str = "") -> None:
    """For ``doctor``: raises what ``Listener(path, group).open()`` would raise for the folder and the group.

    A folder that is not there is not made, and nothing is changed.
    """
    readers = _group_id(group)
    folder = path.parent
    if folder.is_dir():
        os.close(_safe_folder(folder))
    else:
        while not folder.parent.exists():
            folder = folder.parent
        _check_above(folder)
        if not os.access(folder.parent, os.W_OK | os.X_OK):
            raise _unsafe("it is not there, and this user may not make it", folder, f"Make it yours, {_HOME}")
    if readers is not None:
        _check_reachable(folder, group, readers)


def _cannot_give(group: str, readers: int) -> Misconfigured:
    """The error for a socket that cannot be given to the group."""
    if readers in (os.getegid(), *os.getgroups()):
        message = "the service manager forbids to give files to a group (chown)"
        remedy = "Add SystemCallFilter=@chown under [Service] (systemctl edit), restart it; or leave read_group out"
    else:
        message = f"user {user_name(os.getuid())} is not in it"
        remedy = "Add that user to the group, log in anew (a service: restart it), or change read_group"
    return Misconfigured(message, operation="let in", object=_setting(group), remedy=remedy)


def _setting(group: str) -> str:
    return f"the reading group {group!r}"


def _group_id(group: str) -> int | None:
    """The group's number; None for no group. Raises ``Misconfigured`` when there is no such group."""
    if not group:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise Misconfigured(
            "there is no such group", operation="let in", object=_setting(group),
            remedy=f"Make it (groupadd {group}), or change read_group",
        ) from None  # fmt: skip


def _cannot(message: str, path: Path, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="listen on", object=str(path), remedy=remedy)


def _safe_folder(folder: Path) -> int:
    """A descriptor of the socket's folder, which is made if it is not there.

    Raises ``Misconfigured`` when other users could change what is in it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_above(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        why = "it is a symbolic link or no folder" if folder.is_symlink() else error.strerror or str(error)
        raise _unsafe(why, folder, f"Move it away, {_HOME}") from error
    info = os.fstat(descriptor)
    if info.st_uid != os.getuid() or info.st_mode & stat.S_IWOTH:
        os.close(descriptor)
        raise _unsafe(
            "it belongs to somebody else or everybody may write it",
            folder,
            f"Give it to this user alone (chmod 700 {folder}), {_HOME}",
        )
    return descriptor


def _unsafe(message: str, folder: Path, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="put the control socket into", object=str(folder), remedy=remedy)


def _check_above(folder: Path) -> None:
    """Raises ``Misconfigured`` when another user could put a folder, with a socket of theirs, in ``folder``'s place.

    The owner of a folder above it, or of a symbolic link on the way, could do that; so could everybody where a folder
    above it may be written by all and has no sticky bit. The owner of ``/`` is trusted like root, who may have another
    number in a container.
    """
    trusted = {0, os.getuid(), os.stat("/").st_uid}
    for above in dict.fromkeys([*folder.parents, *Path(os.path.realpath(folder)).parents]):
        link, found = above.lstat(), above.stat()
        stranger = next((info.st_uid for info in (link, found) if info.st_uid not in trusted), None)
        if stranger is not None:
            raise _unsafe(
                f"{above} belongs to user {user_name(stranger)}, who could put another folder in its place",
                folder,
                "Set INGESTD_HOME to a folder of your own that lies in folders of your own or of root's",
            )
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            raise _unsafe(
                f"everybody may write {above}, and put another folder in its place",
                folder,
                f"Take that right away (chmod o-w {above}), {_HOME}",
            )


def _check_reachable(folder: Path, group: str, readers: int) -> None:
    """Raises ``Misconfigured`` when members of the group certainly cannot pass a folder above ``folder``."""
    for above in dict.fromkeys([*folder.parents, *Path(os.path.realpath(folder)).parents]):
        info = above.stat()
        # Of a folder of another group nobody can tell here: its members may be in both, or have a list of their own.
        passes = stat.S_IXGRP if info.st_gid == readers else stat.S_IXGRP | stat.S_IXOTH
        if not info.st_mode & passes:
            raise Misconfigured(
                f"its members cannot pass {above} on the way to the socket", operation="let in", object=_setting(group),
                remedy=f"Let them pass (chgrp {group} {above}; chmod g+x {above}), or set INGESTD_HOME, to a short path"
                " that they can reach, for the daemon and for them",
            )  # fmt: skip


def _clear(path: Path, folder: int) -> None:
    """Remove a socket that a daemon left behind: the lock is held, so none uses it. Raises when it is no socket."""
    try:
        info = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise _cannot("something that is no socket lies there", path, "Move it away")
    os.unlink(path.name, dir_fd=folder)


def _identity(path: str | Path, folder: int | None = None) -> tuple[int, int] | None:
    """Device and inode of what lies at ``path``, or None."""
    try:
        info = os.stat(path, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    return info.st_dev, info.st_ino
