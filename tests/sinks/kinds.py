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

from ingestd.protocol.work import SinkSetup
from ingestd.sinks import base
from ingestd.sinks.base import Sink
from ingestd.sinks.document import document, payload, point_id
from ingestd.sinks.memory import SHELVES, MemorySink
from tests.sinks.feedkit import Feed

State = dict[str, dict[str, Any]]
"""What a place says of each key that is there now."""


class Kind(ABC):
    """One place under test. ``searches`` is true for a sink that keeps vectors."""

    name: str
    searches: bool

    def __init__(self, folder: Path) -> None:
        self.place = folder / "sink"
        self.spare = folder / "spare"

    def make(self, setup: SinkSetup) -> Sink:
        return base.make(setup)

    @abstractmethod
    def state(self) -> State:
        """What is in the place, while no sink has it open."""

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


class Edge(Kind):
    name = "qdrant"
    searches = True

    def state(self) -> State:
        shard = qdrant_edge.EdgeShard.load(str(self.place))
        try:
            points, after = shard.scroll(qdrant_edge.ScrollRequest(limit=100_000, with_payload=True))
            assert after is None
            return {str(point.id): dict(point.payload or {}) for point in points}
        finally:
            shard.close()

    def expected(self, feed: Feed) -> State:
        return {
            str(point_id(feed.uuid, record.sha256)): payload(feed.uuid, record)
            for record in feed.records(max_paths=100)
            if not record.deleted and "embed" in (record.results or {})
        }

    def save(self) -> None:
        shutil.rmtree(self.spare, ignore_errors=True)
        shutil.copytree(self.place, self.spare)

    def restore(self) -> None:
        self.lose()
        shutil.copytree(self.spare, self.place)

    def lose(self) -> None:
        shutil.rmtree(self.place)


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Memory, Jsonl, Edge)}
