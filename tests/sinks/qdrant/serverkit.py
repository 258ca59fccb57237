"""What the tests of the server sink share."""

from __future__ import annotations

from ingestd.sinks.base import Cursor
from ingestd.sinks.document import point_id
from ingestd.sinks.qdrant.server_sink import ServerSink
from ingestd.testing.feed import Feed, digest
from ingestd.testing.sink_places import NEW
from tests.qdranthttp import WRITES
from tests.sinks.qdrant.places import Server


def same(served: Server, feed: Feed) -> bool:
    assert served.state_of(feed) == served.expected(feed)
    return True


def key(feed: Feed, content: int) -> str:
    return str(point_id(feed.uuid, digest(content)))


def writes(served: Server) -> int:
    return len(served.kit.asked(WRITES))


def sink_of(served: Server, feed: Feed, cursor: Cursor = NEW) -> ServerSink:
    sink = served.make(served.setup(feed, cursor))
    assert isinstance(sink, ServerSink)
    return sink
