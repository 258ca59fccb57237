"""What the contract must know of both Qdrant sinks: how to look into a store or a server, and how to harm it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import qdrant_edge

from ingestd.kinds.sinks import EMBEDDED, SERVER
from ingestd.protocol.addresses.qdrant_url import collection_name, parse
from ingestd.sinks.document import payload, point_id
from ingestd.testing.feed import Feed
from ingestd.testing.sink_places import SinkPlace, State
from tests.qdrantkit import QdrantKit


class Qdrant(SinkPlace):
    """What both Qdrant sinks are expected to hold."""

    points: ClassVar[bool] = True

    def expected(self, feed: Feed) -> State:
        return {
            str(point_id(feed.uuid, record.sha256)): payload(feed.uuid, record)
            for record in feed.records(max_paths=100)
            if not record.deleted and "embed" in (record.results or {})
        }


class Edge(Qdrant):
    kind = EMBEDDED

    def state(self) -> State:
        shard = qdrant_edge.EdgeShard.load(str(self.place))
        try:
            points, after = shard.scroll(qdrant_edge.ScrollRequest(limit=100_000, with_payload=True))
            assert after is None
            return {str(point.id): dict(point.payload or {}) for point in points}
        finally:
            shard.close()

    def save(self) -> None:
        shutil.rmtree(self.spare, ignore_errors=True)
        shutil.copytree(self.place, self.spare)

    def restore(self) -> None:
        self.lose()
        shutil.copytree(self.spare, self.place)

    def lose(self) -> None:
        shutil.rmtree(self.place)


class Server(Qdrant):
    """A server under test, in this process; ``kit`` switches its faults."""

    kind = SERVER

    def __init__(self, folder: Path, key: str = "") -> None:
        super().__init__(folder)
        self.kit = QdrantKit(folder / "server", key)
        self.place = self.kit.url

    def close(self) -> None:
        self.kit.close()

    def collection(self, feed: Feed) -> str:
        """What the sink calls the feed's collection."""
        return collection_name(parse(self.place), self.setup(feed).store)

    def state(self) -> State:
        return {key: dict(point.payload or {}) for key, point in self.kit.points().items()}

    def state_of(self, feed: Feed) -> State:
        return {key: found for key, found in self.state().items() if found.get("ingestd_job") == str(feed.uuid)}

    def save(self) -> None:
        self.kit.snapshot(self.spare)

    def restore(self) -> None:
        self.kit.restore(self.spare)

    def lose(self) -> None:
        self.kit.drop()
