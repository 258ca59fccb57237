"""The sink in memory: the contract in its shortest form, and what tests of the follower write to."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Hit, Search, SinkSetup
from ingestd.sinks.base import Cursor, Sink, check_query, dimensions
from ingestd.sinks.date_range import period
from ingestd.sinks.document import folder_of, payload, point_id


@dataclass
class Shelf:
    """What outlives a ``MemorySink``: payloads and vectors by point id, and the newest ``seq`` they hold."""

    seq: int = 0
    payloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    vectors: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)


SHELVES: dict[str, Shelf] = {}
"""By ``SinkSetup.place``: a second sink of the same place goes on where the first one stood."""


class MemorySink(Sink):
    """Keeps one payload per content in ``SHELVES[setup.place]``; its token is the shelf's ``seq``."""

    def __init__(self, setup: SinkSetup) -> None:
        self._place = setup.place
        self._job = UUID(setup.job_uuid)
        self._vectors = dimensions(setup.steps)
        self._shelf = Shelf()

    def open(self, cursor: Cursor) -> Cursor:
        """See ``Sink``. A shelf that is not the cursor's is replaced by an empty one."""
        shelf = SHELVES.get(self._place)
        if shelf is None or not cursor.token or shelf.seq < int(cursor.token):
            shelf, cursor = Shelf(), Cursor(0, "0")
        self._shelf = SHELVES[self._place] = shelf
        self.opened = True
        return cursor

    def deliver(self, page: Sequence[Record]) -> str:
        """See ``Sink``."""
        for record in page:
            key = str(point_id(self._job, record.sha256))
            if record.deleted:
                self._shelf.payloads.pop(key, None)
                self._shelf.vectors.pop(key, None)
                continue
            self._shelf.payloads[key] = payload(self._job, record)
            self._shelf.vectors[key] = {
                kind: struct.unpack(f"<{len(made.vector) // 4}f", made.vector)
                for kind, made in (record.results or {}).items()
                if made.vector is not None
            }
        self._shelf.seq = page[-1].seq
        return str(self._shelf.seq)

    def close(self) -> None:
        """See ``Sink``."""
        self.opened = False

    def search(self, ask: Search) -> list[Hit]:
        """See ``Sink``."""
        check_query(ask, self._vectors)
        query = struct.unpack(f"<{len(ask.vector) // 4}f", ask.vector)
        folder = folder_of(ask)
        span = period(ask.since, ask.until)
        hits = []
        for key, vectors in self._shelf.vectors.items():
            found = self._shelf.payloads[key]
            if ask.vector_name not in vectors or (folder is not None and folder not in found["dirs"]):
                continue
            if (span.start or span.end) and not _within(found["taken_at"], span.start, span.end):
                continue
            score = sum(a * b for a, b in zip(query, vectors[ask.vector_name], strict=True))
            hits.append(Hit(key, score, msgspec.json.encode(found)))
        return sorted(hits, key=lambda hit: -hit.score)[: ask.limit]


def _within(taken_at: str | None, start: datetime | None, end: datetime | None) -> bool:
    if taken_at is None:
        return False
    at = datetime.fromisoformat(taken_at)
    return (start is None or at >= start) and (end is None or at < end)
