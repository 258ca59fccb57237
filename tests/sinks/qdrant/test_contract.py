"""The contract of sinks, for the embedded store and for a server."""

from __future__ import annotations

from pathlib import Path

from ingestd.testing.sink import DocumentContract
from ingestd.testing.sink_places import SinkPlace
from tests.sinks.qdrant.places import Edge, Server


class TestEdgeSink(DocumentContract):
    """The engine in this process."""

    def make_place(self, folder: Path) -> SinkPlace:
        return Edge(folder)


class TestServerSink(DocumentContract):
    """A server over HTTP."""

    def make_place(self, folder: Path) -> SinkPlace:
        return Server(folder)
