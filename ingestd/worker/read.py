"""Reading a file once, whole, while hashing it, and knowing that it did not change meanwhile."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from ingestd.errors import ItemError
from ingestd.protocol.work import Stat

MAX_BYTES: Final = 1 << 30
"""No photo is larger: the biggest 16-bit TIFF scans are some hundred MB, and a worker holds the file in memory."""

_PAUSES: Final = (0.05, 0.2, 0.5)
"""Seconds between tries while a file changes under us: a camera import or a download writes a photo within these;
what goes on longer is left to the next scan rather than keeping a reader thread waiting."""


class FileBytes(NamedTuple):
    """A file's whole content, its sha256 (32 bytes), and its state, the same before and after reading."""

    data: bytes
    sha256: bytes
    stat: Stat


def read_file(path: bytes, *, limit: int = MAX_BYTES, sleep: Callable[[float], None] = time.sleep) -> FileBytes:
    """Read and hash ``path``. Never blocks on a pipe or a device, and never returns a torn file.

    Raises ``ItemError``: ``unreadable`` (it cannot be opened or read, or is no regular file), ``too_large`` (over
    ``limit`` bytes), ``changed`` (it was being written during every try).
    """
    for pause in (*_PAUSES, None):
        try:
            whole = _read_once(path, limit)
        except OSError as error:
            raise _unreadable(error) from error
        if whole is not None:
            return whole
        if pause is not None:
            sleep(pause)
    tries = len(_PAUSES) + 1
    raise ItemError("changed", f"it was being written while it was read, {tries} times", stage="read")


def _read_once(path: bytes, limit: int) -> FileBytes | None:
    """The file, or None if it changed while it was read."""
    # O_NONBLOCK: opening a named pipe without a writer would otherwise wait for ever. It means nothing to a file.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise ItemError("unreadable", f"it is {_what(before.st_mode)}, not a file", stage="read")
        if before.st_size > limit:
            raise ItemError("too_large", f"it has {before.st_size:,} bytes, the limit is {limit:,}", stage="read")
        digest = hashlib.sha256()
        parts: list[bytes] = []
        left = before.st_size + 1  # one byte more than there should be: a file that grew shows itself
        while left and (part := os.read(fd, left)):
            digest.update(part)
            parts.append(part)
            left -= len(part)
        if left != 1:
            return None
        after = os.fstat(fd)
    finally:
        os.close(fd)
    state = stat_of(before)
    if state != stat_of(after):
        return None
    # Nearly always one part, and then without a copy.
    return FileBytes(parts[0] if len(parts) == 1 else b"".join(parts), digest.digest(), state)


def stat_of(result: os.stat_result) -> Stat:
    """The part of a stat result that identifies one state of a file."""
    return Stat(result.st_size, result.st_mtime_ns, result.st_ctime_ns, result.st_ino)


def _unreadable(error: OSError) -> ItemError:
    name = errno.errorcode.get(error.errno or 0, "")
    words = {
        errno.ENOENT: "it is gone",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.EISDIR: "it is a folder, not a file",
        errno.ENXIO: "it is a socket or a device, not a file",
        errno.EIO: "the disk or the network reported an input/output error",
    }.get(error.errno or 0, error.strerror or str(error))
    return ItemError("unreadable", words, stage="read", detail=name)


def _what(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((words for test, words in kinds if test(mode)), "something special")
