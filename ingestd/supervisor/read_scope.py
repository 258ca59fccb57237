"""Where the workers of a job may read: its sources, and what links in them lead to.

A worker that is locked down is refused by the kernel what lies outside of its sources. Sources hold links that lead
there, and disks are mounted anew while a worker lives. So what a worker was refused is no failure: a walker child is
asked where the item really lies, by the path that the ledger has for it and not by anything that the worker says; that
place is allowed to the job's next workers, and the one that was refused makes room for one of them.
"""

from __future__ import annotations

import os
import sqlite3
from itertools import islice
from typing import Final

from ingestd.errors import Unavailable
from ingestd.ledger import jobs
from ingestd.ledger.reader import root_page
from ingestd.policy import messages as w
from ingestd.protocol.pathtext import shown
from ingestd.protocol.walk import ResolvedRoot
from ingestd.records import JobRow
from ingestd.supervisor.shared import Shared
from ingestd.supervisor.sources import Sources

EVERYWHERE: Final = b"/"

MAX_BEYOND: Final = 8
"""Places outside of its sources that a job's workers are given one by one, each at the price of a worker's start. A
source whose links lead to more is a collection of links: its workers may read everything."""


MAX_LISTED: Final = 256
"""Folders of a file list that a worker is given one by one, some ten microseconds each; of more, it may read all."""


class ReadScope:
    """By job: what was found outside of its sources, and what was refused although it lies within."""

    def __init__(self, shared: Shared, sources: Sources) -> None:
        self._shared, self._sources = shared, sources
        self._beyond: dict[int, set[bytes]] = {}
        self._refused_within: dict[int, set[bytes]] = {}
        self._asked: dict[int, list[bytes]] = {}

    def of(self, job: int, own: list[bytes]) -> list[bytes]:
        """What a new worker of the job may read, its ``own`` sources first."""
        return [*own, *sorted(self._beyond.get(job, ()))]

    def refused(self, job: int, worker: int, path: bytes, within: list[bytes]) -> None:
        """A worker that may read ``within`` was kept from ``path`` by its lock. It is told to go when that is known."""
        if worker in self._asked:  # by the one walker that is asked for it: a window may be links alone
            self._asked[worker].append(path)
        else:
            self._asked[worker] = [path]
            self._shared.tasks.start_soon(self._widen, job, worker, within)

    def forget(self, job: int) -> None:
        """A job was removed."""
        self._beyond.pop(job, None)
        self._refused_within.pop(job, None)

    async def _widen(self, job: int, worker: int, within: list[bytes]) -> None:
        while paths := self._asked[worker]:
            self._asked[worker] = []
            # A folder of a list that the walk has found since: the next worker is given it with the others.
            known = [path for path in paths if any(_is_below(path, root) for root in within)]
            ways = {path: way_to(path, within) for path in known}
            found: list[ResolvedRoot] = []
            try:
                found = await self._sources.resolve([step for way in ways.values() for step in way]) if ways else []
            except Unavailable:
                pass  # its source is away, or slow: another worker will see
            steps = iter(found)
            for path in dict.fromkeys(paths):
                self._allow(job, path, where(list(islice(steps, len(ways.get(path, ())))), within))
            self._shared.post(w.WorkerRefused(worker))
        del self._asked[worker]

    def _allow(self, job: int, path: bytes, place: bytes | None) -> None:
        s = self._shared
        beyond = self._beyond.setdefault(job, set())
        if place is None and path in self._refused_within.setdefault(job, set()):
            place = EVERYWHERE  # a second worker was refused what it was given: the lock is not understood here
        if place is None:
            self._refused_within[job].add(path)
        elif place not in beyond and EVERYWHERE not in beyond:
            beyond.add(place)
            if len(beyond) > MAX_BEYOND:
                place = EVERYWHERE
            if place == EVERYWHERE:
                beyond.clear()
                beyond.add(place)
            name = s.rows[job].name if job in s.rows else ""
            s.log.info("worker bounds widened", job=name, place=shown(place)[0], path=shown(path)[0])


def source_paths(db: sqlite3.Connection, row: JobRow) -> list[bytes]:
    """A job's folders and files. Of a file list, the folders that its files lie in, as far as a walk has found them."""
    roots = jobs.roots(db, row.roots)
    if row.spec.list_file is None:
        return [os.path.join(root.path, root.only) if root.only else root.path for root in roots]
    listed = [rel for root in roots for _, rel in root_page(db, root.id, b"", MAX_LISTED + 1)]
    return [b"/" + rel for rel in listed] if 0 < len(listed) <= MAX_LISTED else [EVERYWHERE]


def way_to(path: bytes, within: list[bytes]) -> list[bytes]:
    """The folders from the source that holds ``path`` down to it, and ``path`` itself."""
    top = max((len(root) for root in within if path != root and _is_below(path, root)), default=len(path))
    way = [path]
    while len(parent := os.path.dirname(way[0])) > top:
        way.insert(0, parent)
    return way


def where(way: list[ResolvedRoot], within: list[bytes]) -> bytes | None:
    """The first place on the way to an item that lies outside of ``within``: what a link leads to. None for no such."""
    for step in way:
        if not step.error and not any(_is_below(step.path, root) for root in within):
            return step.path if step.is_dir else os.path.dirname(step.path)
    return None


def _is_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
