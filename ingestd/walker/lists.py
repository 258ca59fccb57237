"""File lists: one path per line (or per NUL), grouped by folder so that each folder is compared once.

A list may name the folders in any order and a path twice, and be longer than memory: it is sorted in runs that lie
beside it in files without a name, which are merged into one. In memory stand one run, each folder's path once, and
the names of the one folder that is asked for.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import BinaryIO, Final, cast

_CHUNK: Final = 1 << 16
"""Bytes read at once from the list and from each run."""

_RUN: Final = 2 << 20
"""Bytes of paths that are sorted in memory, where they take some six times that."""

_OPEN: Final = 64
"""Runs open at once; so many are merged into one before there are more."""

_END: Final = b"\0/"
"""Ends an entry ``folder NUL name`` in a run. It cannot stand in one: a path holds no NUL and a name no slash."""


class FileList(AbstractContextManager["FileList"]):
    """``folders`` holds the listed folders, relative to ``/``, in bytewise order; ``names`` says what is listed in one.

    ``bad`` counts entries that are no absolute path. A line may end as on Windows when the first one does. Raises
    ``OSError`` when the list cannot be read to its end or there is no room beside it to sort it.
    """

    def __init__(self, path: str, run_bytes: int = _RUN) -> None:
        self.bad = 0
        self.folders: dict[bytes, tuple[int, int]] = {}
        self._beside = os.path.dirname(os.path.abspath(path))
        self._file = self._temporary()
        try:
            with open(path, "rb") as file, ExitStack() as stack:
                lines = _split(file, b"\0") if path.endswith(".nul") else _lines(file)
                runs: list[BinaryIO] = []
                for entries in self._sets(lines, run_bytes):
                    if len(runs) == _OPEN:
                        runs = [self._run(_merged(runs), stack)]
                    runs.append(self._run(sorted(entries), stack))
                self._group(_merged(runs))
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def names(self, folder: bytes) -> list[bytes]:
        """The names listed in one of ``folders``, in bytewise order and without doubles."""
        start, end = self.folders[folder]
        self._file.seek(start)
        return self._file.read(end - start).split(b"\0")

    def _sets(self, paths: Iterable[bytes], run_bytes: int) -> Iterator[set[bytes]]:
        """The entries of ``run_bytes`` of paths after another."""
        entries: set[bytes] = set()
        size = 0
        for path in paths:
            if not path.startswith(b"/") or b"\0" in path:
                self.bad += 1
                continue
            folder, _, name = normal(path).rpartition(b"/")
            entries.add(folder[1:] + b"\0" + name)
            size += len(path)
            if size >= run_bytes:
                yield entries
                entries, size = set(), 0
        yield entries

    def _run(self, entries: Iterable[bytes], stack: ExitStack) -> BinaryIO:
        file = stack.enter_context(self._temporary())
        file.writelines(entry + _END for entry in entries)
        file.seek(0)
        return file

    def _group(self, entries: Iterable[bytes]) -> None:
        """Write the names of each folder, NUL between them, and note where they stand."""
        at = 0
        for entry in entries:
            folder, _, name = entry.partition(b"\0")
            known = self.folders.get(folder)
            start = at if known is None else known[0]
            at += self._file.write(name if known is None else b"\0" + name)
            self.folders[folder] = (start, at)

    def _temporary(self) -> BinaryIO:
        return cast(BinaryIO, tempfile.TemporaryFile(buffering=_CHUNK, dir=self._beside))


def _merged(runs: list[BinaryIO]) -> Iterator[bytes]:
    """The entries of sorted runs, sorted and without doubles; a run that was read is closed."""
    last = None
    for entry in heapq.merge(*(_split(run, _END) for run in runs)):
        if entry != last:
            yield entry
        last = entry
    for run in runs:
        run.close()


def normal(path: bytes) -> bytes:
    """An absolute path without ``.``, ``..``, doubled or trailing slashes, by its text alone."""
    if b"//" in path or b"/." in path or path.endswith(b"/"):
        return b"/" + os.path.normpath(path).lstrip(b"/")
    return path


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines that are not empty. If the first ends with CR LF, all do: a name that ends with CR needs a NUL list."""
    as_on_windows: bool | None = None
    for line in _split(file, b"\n"):
        if as_on_windows is None:
            as_on_windows = line.endswith(b"\r")
        if path := line.removesuffix(b"\r") if as_on_windows else line:
            yield path


def _split(file: BinaryIO, end: bytes) -> Iterator[bytes]:
    """The entries of ``file`` that are not empty; the last one needs no ``end``."""
    rest = b""
    while data := file.read(_CHUNK):
        *entries, rest = (rest + data).split(end)
        yield from filter(None, entries)
    if rest:
        yield rest
