"""The same sink over gRPC: what it writes, finds and says is the same; its errors are other ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ingestd.errors import Misconfigured
from ingestd.ledger.reader import PAGE
from ingestd.protocol.sink import Delivered, FromSink, Hits, Search
from ingestd.protocol.work import Fatal, Hello
from ingestd.testing.feed import Feed, vector
from ingestd.testing.following import follow
from ingestd.testing.sink_places import NEW
from tests.childkit import running
from tests.qdrantgrpc import GrpcFace
from tests.qdranthttp import Fault
from tests.sinks.qdrant.places import Server
from tests.sinks.qdrant.serverkit import key, same


@pytest.fixture
def face(served: Server) -> Iterator[GrpcFace]:
    face = GrpcFace(served.kit)
    served.place = face.url
    yield face
    face.close()


@pytest.mark.usefixtures("face")
def test_delivery_changes_and_search(served: Server, feed: Feed) -> None:
    """Points, changes, deletions, evidence, a rebuild and a search with filters, as over REST."""
    cursor = follow(served, feed).cursor
    assert same(served, feed)
    assert served.kit.config(served.collection(feed))["indexes"] == {
        "dirs": "keyword",
        "taken_at": "datetime",
        "ingestd_job": "keyword",
    }
    feed.rename(1)
    feed.delete(2)
    line = follow(
        served,
        feed,
        cursor,
        script=[Search(1, "embed", vector(123), 600, b"/photos/2003", "2003-06-15", "2003-06-15")],
    )
    assert line.delivered[0].seq == 600
    assert same(served, feed)
    assert {msgspec.json.decode(hit.payload)["taken_at"] for hit in line.hits[0].hits} == {"2003-06-15T12:00:00Z"}
    assert line.hits[0].hits[0].id == key(feed, 123)
    assert msgspec.json.decode(line.hits[0].hits[0].payload) == served.state()[key(feed, 123)]
    served.kit.forget([key(feed, 77)])
    assert follow(served, feed, line.cursor).delivered[0].seq == 0
    assert same(served, feed)
    follow(served, feed, NEW)
    assert same(served, feed)
    assert served.kit.requests == [], "some of it went over REST"


@pytest.mark.usefixtures("face")
def test_indexing_is_put_off_and_given_back(served: Server, feed: Feed) -> None:
    """The settings have other types here."""
    feed.add(4000)
    follow(served, feed)
    served.kit.config(served.collection(feed))["optimizers"]["indexing_threshold"] = 10**12 + 5000
    follow(served, feed)
    assert served.kit.config(served.collection(feed))["optimizers"]["indexing_threshold"] == 5000


@pytest.mark.usefixtures("face")
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault("GRPC Upsert", times=2, status=500), "the server answers internal: as a test wants it"),
        (Fault("GRPC Upsert", status=500, applied=True), "the server answers internal: as a test wants it, and it was"),
        (Fault("GRPC Upsert", times=2, status=503), "the server answers unavailable: as a test wants it"),
        (Fault("GRPC Upsert", times=2, status=429), "the server asks for fewer requests"),
        (Fault("GRPC GetCollection", status=429), "the server asks for fewer requests"),
        (Fault("GRPC Upsert", status=501, skip=2), "it answers gRPC, and not as a Qdrant server does"),
    ],
)
def test_a_fault_is_waited_out(served: Server, feed: Feed, fault: Fault, why: str) -> None:
    """In words; the same page again, nothing lost, nothing twice."""
    served.kit.faults = [fault]
    line = follow(served, feed)
    assert fault.times == 0
    assert why in line.troubles[0].message
    assert line.cursor.seq == 600
    assert same(served, feed)


@pytest.mark.usefixtures("face")
def test_what_is_too_long_is_halved(served: Server, feed: Feed) -> None:
    """As over REST."""
    served.kit.faults = [Fault("GRPC Upsert", times=4, status=413)]
    line = follow(served, feed)
    assert line.troubles == []
    assert same(served, feed)


def test_refused_connections_are_waited_out(served: Server, feed: Feed, face: GrpcFace) -> None:
    """A server that is not there."""
    face.close()
    line = follow(served, feed, finish_after=2)
    assert line.troubles[0].message.endswith(f"at {face.url}: connection refused")


def test_a_rest_port_is_no_grpc_port(served: Server, feed: Feed) -> None:
    """It is waited for, as gRPC does not tell what it met."""
    served.place = served.place.replace("http:", "grpc:")
    assert follow(served, feed, finish_after=2).troubles[0].message.startswith("cannot open the collection")


def test_a_wrong_key(served: Server, feed: Feed, face: GrpcFace) -> None:
    """A person has to change it."""
    served.kit.key = "something"
    with pytest.raises(Misconfigured, match="unauthenticated: Invalid API key"):
        follow(served, feed)


def test_grpcs_with_a_key(authority: Path, served: Server, feed: Feed) -> None:
    """Encrypted, the authority from SSL_CERT_FILE, the key in the metadata; without the authority it is refused."""
    served.kit.key = "S3cretKey"
    face = GrpcFace(served.kit, (authority / "cert.pem", authority / "key.pem"))
    served.place = face.url
    environ = {"INGESTD_QDRANT_KEY": "S3cretKey"}
    try:
        with running("ingestd.sinks", FromSink, {**environ, "SSL_CERT_FILE": str(authority / "ca.pem")}) as child:
            child.expect(Hello)
            child.send(served.setup(feed))
            list(child.until(lambda message: isinstance(message, Delivered) and message.seq >= 2 * PAGE))
            child.send(Search(1, "embed", vector(3), 2))
            *_, hits = child.until(lambda message: isinstance(message, Hits))
            assert len(hits.hits) == 2
        assert face.keys == {"S3cretKey"}
        with running("ingestd.sinks", FromSink, environ) as child:
            child.expect(Hello)
            child.send(served.setup(feed))
            assert child.expect(Fatal).message == "its certificate is not trusted"
    finally:
        face.close()
