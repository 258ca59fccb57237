"""A sink that keeps everything in this process: the smallest that keeps the contract, and one that tests can look into.

It stands for any sink in a test of something else, and shows what a sink has to do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from ingestd.kinds.sinks import API, SinkKind
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Hit, Search, SinkSetup
from ingestd.sinks.base import Cursor, Sink, check_query, dimensions
from ingestd.sinks.date_range import period
from ingestd.sinks.document import folder_of, payload, point_id

FAKE: Final = SinkKind("fake", "nowhere: for tests", "ingestd.testing.fake_sink:FakeSink", API, vectors=True)
"""Its declaration. It is not among what ships: a job cannot ask for it."""


@dataclass
class Stored:
    """What outlives a ``FakeSink``: payloads and vectors by point id, and the newest ``seq`` they hold."""

    seq: int = 0
    payloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    vectors: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)


STORED: dict[str, Stored] = {}
"""By ``SinkSetup.place``: a second sink of the same place goes on where the first one stood."""


class FakeSink(Sink):
    """Keeps one payload per content in ``STORED[setup.place]``; its token is the ``seq`` there."""

    def __init__(self, setup: SinkSetup) -> None:
        self._place = setup.place
        self._job = UUID(setup.job_uuid)
        self._vectors = dimensions(setup.steps)
        self._stored = Stored()

    def open(self, cursor: Cursor) -> Cursor:
        """See ``Sink``. What is not the cursor's is replaced by an empty place."""
        stored = STORED.get(self._place)
        if stored is None or not cursor.token or stored.seq < int(cursor.token):
            stored, cursor = Stored(), Cursor(0, "0")
        self._stored = STORED[self._place] = stored
        self.opened = True
        return cursor

    def deliver(self, page: Sequence[Record]) -> str:
        """See ``Sink``."""
        for record in page:
            key = str(point_id(self._job, record.sha256))
            if record.deleted:
                self._stored.payloads.pop(key, None)
                self._stored.vectors.pop(key, None)
                continue
            self._stored.payloads[key] = payload(self._job, record)
            self._stored.vectors[key] = {
                name: struct.unpack(f"<{len(made.vector) // 4}f", made.vector)
                for name, made in (record.results or {}).items()
                if made.vector is not None
            }
        self._stored.seq = page[-1].seq
        return str(self._stored.seq)

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
        for key, vectors in self._stored.vectors.items():
            found = self._stored.payloads[key]
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
