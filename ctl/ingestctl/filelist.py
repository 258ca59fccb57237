"""A file list from stdin, copied into the state folder line by line: a million paths are never held in memory."""

from __future__ import annotations

import os

from ingestctl import locations
from ingestctl.rpc import CommandError, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

MAX_PATH = 64 * 1024
"""Bytes. Far above what any system takes for a path: a longer line is no list, and must not be held in memory."""

_CHUNK = 1 << 20


def keep_list(source: BinaryIO, *, nul: bool) -> tuple[str, str, int]:
    """Copy the list, every path made absolute from its text alone, into ``<state>/spool``.

    Paths end with a newline, or with NUL when ``nul``. Returns the file (``list-<sha256, 16 digits>.list`` or
    ``.nul``), the SHA-256 of its bytes in hex and how many paths it holds. The file is whole and on the disk before
    it has its name; the same list always has the same name.
    """
    from hashlib import sha256

    folder = locations.state() + "/spool"
    draft = f"{folder}/.list-{os.getpid()}-{os.urandom(4).hex()}"
    digest, total = sha256(), 0
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with open(draft, "xb", opener=_private) as out:
            for block, paths in _absolute(source, b"\0" if nul else b"\n"):
                digest.update(block)
                out.write(block)
                total += paths
            out.flush()
            os.fsync(out.fileno())
        if not total:
            raise usage("it is empty", operation="read", object="the file list on stdin", remedy="pipe paths into it")
        name = f"{folder}/list-{digest.hexdigest()[:16]}.{'nul' if nul else 'list'}"
        os.replace(draft, name)
        _sync_folder(folder)
    except OSError as error:
        remedy = "free some space there, or move the state with INGESTD_HOME"
        raise CommandError(
            error.strerror or str(error), operation="store the file list in", object=folder, remedy=remedy
        ) from None
    finally:
        try:
            os.unlink(draft)
        except OSError:
            pass  # it has its name by now, or never came to be
    return name, digest.hexdigest(), total


def _absolute(source: BinaryIO, separator: bytes) -> Iterator[tuple[bytes, int]]:
    """Blocks of absolute paths, each path ended by ``separator``, and how many paths a block holds."""
    rest = b""
    number = 0
    here = os.getcwdb()
    blank = b"\r" if separator == b"\n" else b""  # a line that ends as on Windows: made absolute, it would be ``here``
    while True:
        data = source.read1(_CHUNK) if hasattr(source, "read1") else source.read(_CHUNK)
        lines = (rest + data).split(separator)
        rest = lines.pop() if data else b""
        block = []
        for line in lines:
            number += 1
            if separator == b"\n" and b"\0" in line:
                raise _no_list(number, "it holds NUL bytes", "if the paths end with NUL (find -print0), add -0")
            if len(line) > MAX_PATH:
                raise _no_list(number, f"it is {len(line):,} bytes long", "one path a line, or NUL and -0")
            if line and line != blank:
                block.append(os.path.normpath(line if line.startswith(b"/") else here + b"/" + line))
        if len(rest) > MAX_PATH:
            raise _no_list(number + 1, f"it is over {MAX_PATH:,} bytes long", "one path a line, or NUL and -0")
        if block:
            yield separator.join(block) + separator, len(block)
        if not data:
            return


def _no_list(number: int, message: str, remedy: str) -> CommandError:
    return usage(message, operation="read", object=f"path {number:,} of the list on stdin", remedy=remedy)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: str) -> None:
    """The new name itself must survive a power cut: the ledger will refer to it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
