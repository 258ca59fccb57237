"""What the contract of sinks must know of each: its declaration, how to look into its place, and how to harm it."""

from __future__ import annotations

import copy
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ingestd.kinds.sinks import JSONL, SinkKind
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks import base
from ingestd.sinks.base import Cursor, Sink
from ingestd.sinks.document import document, payload, point_id
from ingestd.testing.fake_sink import FAKE, STORED
from ingestd.testing.feed import Feed

State = Mapping[str, Mapping[str, Any]]
"""What a place says of each key (a content's ``point_id`` as text) that is there now."""

NEW = Cursor(0, "")
"""The cursor of a sink that has delivered nothing."""


class SinkPlace(ABC):
    """One place that a sink writes to, in a test. ``place`` is as in ``SinkSetup``, ``spare`` is where ``save`` may put
    a copy. ``points``: a content without a vector is not kept there."""

    kind: ClassVar[SinkKind]
    points: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.place: Any = folder / "sink"
        self.spare = folder / "spare"

    @property
    def name(self) -> str:
        """The name of its kind."""
        return self.kind.name

    def close(self) -> None:  # noqa: B027  (most need nothing)
        """End what the place needed, such as a server."""

    def setup(self, feed: Feed, cursor: Cursor = NEW) -> SinkSetup:
        """What the daemon would tell the sink."""
        return feed.setup(self.kind, self.place, *cursor)

    def make(self, setup: SinkSetup) -> Sink:
        """The sink, as its process makes it."""
        return base.make(setup)

    @abstractmethod
    def state(self) -> State:
        """What is in the place, while no sink has it open."""

    def state_of(self, feed: Feed) -> State:
        """What is in the place of this feed's job, where other jobs may share it."""
        return self.state()

    @abstractmethod
    def expected(self, feed: Feed) -> State:
        """What the ledger's feed says should be there."""

    @abstractmethod
    def save(self) -> None:
        """Copy the place to ``spare``, while no sink has it open."""

    @abstractmethod
    def restore(self) -> None:
        """Put the copy back in the place."""

    @abstractmethod
    def lose(self) -> None:
        """Remove the place."""


class FakePlace(SinkPlace):
    """Of the fake: in this process."""

    kind = FAKE

    def state(self) -> State:
        """See ``SinkPlace``."""
        return STORED[str(self.place)].payloads

    def expected(self, feed: Feed) -> State:
        """See ``SinkPlace``."""
        living = (record for record in feed.records() if not record.deleted)
        return {str(point_id(feed.uuid, record.sha256)): payload(feed.uuid, record) for record in living}

    def save(self) -> None:
        """See ``SinkPlace``."""
        STORED[str(self.spare)] = copy.deepcopy(STORED[str(self.place)])

    def restore(self) -> None:
        """See ``SinkPlace``."""
        STORED[str(self.place)] = STORED[str(self.spare)]

    def lose(self) -> None:
        """See ``SinkPlace``."""
        STORED.pop(str(self.place), None)


class JsonlPlace(SinkPlace):
    """A file of JSON lines."""

    kind = JSONL

    def lines(self) -> list[dict[str, Any]]:
        """Every line, each of which must be whole."""
        text = self.place.read_bytes()
        assert not text or text.endswith(b"\n"), "the last line is torn"
        return [json.loads(line) for line in text.split(b"\n")[:-1]]

    def state(self) -> State:
        """See ``SinkPlace``. The last line of an id counts."""
        found = {line["id"]: line for line in self.lines()}
        return {key: line for key, line in found.items() if not line.get("deleted")}

    def expected(self, feed: Feed) -> State:
        """See ``SinkPlace``."""
        living = (record for record in feed.records() if not record.deleted)
        return {str(point_id(feed.uuid, record.sha256)): document(feed.uuid, record) for record in living}

    def save(self) -> None:
        """See ``SinkPlace``."""
        shutil.copyfile(self.place, self.spare)

    def restore(self) -> None:
        """See ``SinkPlace``. Into the same inode: what a file system does that loses a file's tail."""
        shutil.copyfile(self.spare, self.place)

    def lose(self) -> None:
        """See ``SinkPlace``."""
        os.unlink(self.place)
