"""What sinks on a disk share: a lock, moving aside what cannot be trusted, free space, and errors in words."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ingestd.errors import Misconfigured, Unavailable

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM)


@contextmanager
def in_words(operation: str, place: Path) -> Iterator[None]:
    """Turn an ``OSError`` into ``Unavailable``, or ``Misconfigured`` where only a person's change helps."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(operation, place) from error
        if error.errno in _FORBIDDEN:
            raise Misconfigured(
                "permission denied",
                operation=operation,
                object=str(place),
                remedy="Give this user the right to write there, or choose another place for the sink",
            ) from error
        if error.errno == errno.EROFS:
            raise Unavailable(
                "read-only file system",
                operation=operation,
                object=str(place),
                remedy="Mount it for writing; the system's service needs a drop-in that names the folder in "
                "ReadWritePaths=. Delivery goes on by itself",
            ) from error
        raise Unavailable(
            (error.strerror or str(error)).lower(),
            operation=operation,
            object=str(place),
            remedy="Check the disk that holds it; delivery goes on by itself",
        ) from error


def disk_full(operation: str, place: Path, need: int = 0) -> Unavailable:
    """The error for a full disk; ``need`` is how many bytes must be free, if that is known."""
    room = f"Keep at least {need >> 20} MiB free" if need else "Free space"
    return Unavailable(
        "disk full",
        operation=operation,
        object=str(place),
        remedy=f"{room} on the volume that holds it; delivery goes on by itself",
    )


def lock(fd: int, place: Path) -> None:
    """Hold ``fd`` for this process alone until it is closed; the kernel frees it when the process dies.

    Raises ``Unavailable`` when another process holds it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise taken(place) from None


def taken(place: Path) -> Unavailable:
    """The error for a place that another process holds."""
    return Unavailable(
        "another process is writing there",
        operation="open",
        object=str(place),
        remedy="Stop the other job or daemon that uses it, or give one of them another place",
    )


def move_aside(place: Path) -> Path:
    """Rename ``place`` to ``<name>.aside-<time>`` beside it and return that path."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = place.with_name(f"{place.name}.aside-{stamp}")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = place.with_name(f"{place.name}.aside-{stamp}-{number}")
    os.rename(place, aside)
    sync_folder(place.parent)
    return aside


def try_beside(place: Path) -> None:
    """Write a file of its own in the folder of ``place``, durably, and take it away: it shows a full or read-only disk
    without touching what is there. Raises ``OSError``."""
    trial = place.with_name(f".{place.name}.doctor-{os.getpid()}")
    descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"\0" * 4096)
        sync_file(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(trial)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(fd: int) -> None:
    """Make a file's bytes durable; macOS's ``fsync`` stops at the drive's cache, ``F_FULLFSYNC`` does not."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, full)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write on the volume of ``folder``."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize
