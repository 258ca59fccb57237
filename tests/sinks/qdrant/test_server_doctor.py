"""What ``doctor`` sees of a Qdrant server: it asks, and writes nothing."""

from __future__ import annotations

import pytest

from ingestd.testing.feed import Feed
from tests.sinks.doctorkit import look
from tests.sinks.qdrant.places import Server

COSINE = {"size": 8, "distance": "Cosine"}


def test_a_server(feed: Feed, served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a collection, with one that fits, with one that does not, with a key, away: each in words; no write."""
    url = str(served.place)
    kit = served.kit
    assert "the collection is made at the first delivery" in look(feed, "qdrant-server", url).finding
    kit.create("fits", {"embed": COSINE})
    assert "answers, 0 points" in look(feed, "qdrant-server", f"{url}?collection=fits").finding
    kit.create("other", {"embed": {"size": 3, "distance": "Cosine"}})
    other = look(feed, "qdrant-server", f"{url}?collection=other")
    assert (other.level, "has 3 dimensions" in other.finding) == ("fail", True)
    kit.key = "secret-of-the-server"
    locked = look(feed, "qdrant-server", url)
    assert (locked.level, "API key" in locked.remedy) == ("fail", True)
    monkeypatch.setenv("INGESTD_QDRANT_KEY", kit.key)
    assert look(feed, "qdrant-server", url).level == "ok"
    assert {request.line.split()[0] for request in kit.requests} == {"GET"}
    kit.stop()
    away = look(feed, "qdrant-server", url)
    assert (away.level, "connection refused" in away.finding) == ("fail", True)
