"""What the contract suite must know of each kind of sink: how to make one, and what its place holds."""

from __future__ import annotations

import copy
import json
import os
import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import qdrant_edge

from ingestd.protocol.addresses.qdrant_url import collection_name, parse
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks import base
from ingestd.sinks.base import Sink
from ingestd.sinks.document import document, payload, point_id
from ingestd.testing.fake_sink import SHELVES, MemorySink
from tests.qdrantkit import QdrantKit
from tests.sinks.feedkit import Feed

State = dict[str, dict[str, Any]]
"""What a place says of each key that is there now."""


class Kind(ABC):
    """One place under test. ``searches`` is true for a sink that keeps vectors; ``points``: and nothing without one."""

    name: str
    searches: bool
    points: bool = False

    def __init__(self, folder: Path) -> None:
        self.place: Any = folder / "sink"
        self.spare = folder / "spare"

    def close(self) -> None:  # noqa: B027  (most need nothing)
        """End what the kind needed."""

    def make(self, setup: SinkSetup) -> Sink:
        return base.make(setup)

    @abstractmethod
    def state(self) -> State:
        """What is in the place, while no sink has it open."""

    def state_of(self, feed: Feed) -> State:
        """What is in the place of this feed's job."""
        return self.state()

    @abstractmethod
    def expected(self, feed: Feed) -> State:
        """What the ledger's feed says should be there."""

    @abstractmethod
    def save(self) -> None:
        """Copy the place, while no sink has it open."""

    @abstractmethod
    def restore(self) -> None:
        """Put the copy back in the place."""

    @abstractmethod
    def lose(self) -> None:
        """Remove the place."""


class Memory(Kind):
    name = "memory"
    searches = True

    def make(self, setup: SinkSetup) -> Sink:
        return MemorySink(setup)

    def state(self) -> State:
        return SHELVES[str(self.place)].payloads

    def expected(self, feed: Feed) -> State:
        return {
            str(point_id(feed.uuid, record.sha256)): payload(feed.uuid, record)
            for record in feed.records()
            if not record.deleted
        }

    def save(self) -> None:
        SHELVES[str(self.spare)] = copy.deepcopy(SHELVES[str(self.place)])

    def restore(self) -> None:
        SHELVES[str(self.place)] = SHELVES[str(self.spare)]

    def lose(self) -> None:
        SHELVES.pop(str(self.place), None)


class Jsonl(Kind):
    name = "jsonl"
    searches = False

    def lines(self) -> list[dict[str, Any]]:
        """Every line, each of which must be whole."""
        text = self.place.read_bytes()
        assert not text or text.endswith(b"\n"), "the last line is torn"
        return [json.loads(line) for line in text.split(b"\n")[:-1]]

    def state(self) -> State:
        found = {line["id"]: line for line in self.lines()}
        return {key: line for key, line in found.items() if not line.get("deleted")}

    def expected(self, feed: Feed) -> State:
        return {
            str(point_id(feed.uuid, record.sha256)): document(feed.uuid, record)
            for record in feed.records()
            if not record.deleted
        }

    def save(self) -> None:
        shutil.copyfile(self.place, self.spare)

    def restore(self) -> None:
        """Into the same inode: what a file system does that loses a file's tail."""
        shutil.copyfile(self.spare, self.place)

    def lose(self) -> None:
        os.unlink(self.place)


class Qdrant(Kind):
    """What both Qdrant sinks are expected to hold."""

    searches = True
    points = True

    def expected(self, feed: Feed) -> State:
        return {
            str(point_id(feed.uuid, record.sha256)): payload(feed.uuid, record)
            for record in feed.records(max_paths=100)
            if not record.deleted and "embed" in (record.results or {})
        }


class Edge(Qdrant):
    name = "qdrant"

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

    name = "qdrant-server"

    def __init__(self, folder: Path, key: str = "") -> None:
        super().__init__(folder)
        self.kit = QdrantKit(folder / "server", key)
        self.place = self.kit.url

    def close(self) -> None:
        self.kit.close()

    def collection(self, feed: Feed) -> str:
        """What the sink calls the feed's collection."""
        return collection_name(parse(self.place), feed.setup(self.name, self.place).store)

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


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Memory, Jsonl, Edge, Server)}
