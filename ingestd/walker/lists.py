"""File lists: one path per line (or per NUL), grouped by folder so that each folder is compared once.

The paths are held in memory, each folder's path once and each name alone: about 60 bytes and the name per line. A list
may name the folders in any order and a path twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 20


class FileList:
    """``folders`` maps a folder, relative to ``/``, to the listed names in it, in bytewise order and without doubles.

    ``bad`` counts entries that are no absolute path. Raises ``OSError`` when the list cannot be read to its end.
    """

    def __init__(self, path: str) -> None:
        self.bad = 0
        folders: dict[bytes, list[bytes]] = {}
        with open(path, "rb") as file:
            for line in _split(file, b"\0" if path.endswith(".nul") else b"\n"):
                if not line.startswith(b"/") or b"\0" in line:
                    self.bad += 1
                    continue
                folder, _, name = normal(line).rpartition(b"/")
                folders.setdefault(folder[1:], []).append(name)
        self.folders = {folder: sorted(set(names)) for folder, names in sorted(folders.items())}


def normal(path: bytes) -> bytes:
    """An absolute path without ``.``, ``..``, doubled or trailing slashes, by its text alone."""
    if b"//" in path or b"/." in path or path.endswith(b"/"):
        return b"/" + os.path.normpath(path).lstrip(b"/")
    return path


def _split(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """The entries of ``file`` that are not empty; the last one needs no ``end``."""
    rest = b""
    while data := file.read(_CHUNK):
        *lines, rest = (rest + data).split(end)
        yield from filter(None, lines)
    if rest:
        yield rest
