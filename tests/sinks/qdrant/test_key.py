"""The API key and the encrypted way, by the real child: where the key goes, and where it never is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingestd.errors import EXIT_OK, Misconfigured
from ingestd.protocol.addresses.qdrant_url import parse
from ingestd.protocol.sink import Delivered, FromSink, Grown, Hits, Search, Trouble
from ingestd.protocol.work import Fatal, Finish, Hello
from ingestd.sinks.base import Cursor
from ingestd.sinks.qdrant.server_connection import MAX_KEY, ServerConnection, read_key
from ingestd.testing.feed import Feed, feed_of, vector
from ingestd.testing.sink_places import NEW
from tests.childkit import Child, running
from tests.qdranthttp import WRITES, Fault
from tests.qdrantkit import QdrantKit
from tests.sinks.qdrant.places import Server

SINKS = "ingestd.sinks"
KEY = "S3cretKey-0123456789"


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    with feed_of(tmp_path, 300) as feed:
        yield feed


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Server]:
    """A server that asks for ``KEY``."""
    served = Server(tmp_path, KEY)
    yield served
    served.close()


def begin(child: Child, feed: Feed, served: Server, cursor: Cursor = NEW, **more: Any) -> None:
    child.expect(Hello)
    setup = served.setup(feed, cursor)
    child.send(msgspec.structs.replace(setup, **more))


def test_the_key_of_the_environment(locked: Server, feed: Feed, capfd: pytest.CaptureFixture[str]) -> None:
    """It opens the server, is in every request, and in no argument, message or line of output; nobody is warned."""
    with running(SINKS, FromSink, {"INGESTD_QDRANT_KEY": KEY}) as child:
        begin(child, feed, locked)
        seen = list(child.until(lambda message: isinstance(message, Delivered) and message.seq == 300))
        command = Path(f"/proc/{child.process.pid}/cmdline").read_bytes() if os.path.exists("/proc/self") else b""
        locked.kit.key = "another"
        feed.add(1)
        child.send(Grown(feed.end()))
        seen += list(child.until(lambda message: isinstance(message, Fatal)))
        assert child.wait() == 1
    assert all(request.headers.get("api-key") == KEY for request in locked.kit.requests)
    assert seen[-1].kind == "misconfigured"
    assert "401" in seen[-1].message
    assert "INGESTD_QDRANT_KEY" in seen[-1].remedy
    said = msgspec.json.encode(seen) + command + "".join(capfd.readouterr()).encode()
    assert KEY.encode() not in said
    assert b"arning" not in said


def test_the_key_of_a_file(locked: Server, feed: Feed, tmp_path: Path) -> None:
    """It wins over the environment; the line's end is not part of it."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    with running(SINKS, FromSink, {"INGESTD_QDRANT_KEY": "another"}) as child:
        begin(child, feed, locked, key_file=str(tmp_path / "key"))
        list(child.until(lambda message: isinstance(message, Delivered) and message.seq == 300))
        child.send(Finish())
        assert child.wait() == EXIT_OK
    assert locked.state() == locked.expected(feed)


def test_no_key(locked: Server, feed: Feed) -> None:
    """The server's answer, and what to do."""
    with running(SINKS, FromSink) as child:
        begin(child, feed, locked)
        fatal = child.expect(Fatal)
    assert (fatal.kind, fatal.message) == ("misconfigured", "the server answers 401")
    assert fatal.remedy == (
        "Put the server's API key into the file that qdrant_key_file names, or into INGESTD_QDRANT_KEY before the"
        " daemon starts, and start the job again"
    )


def test_a_server_that_repeats_the_key(locked: Server, feed: Feed) -> None:
    """It is taken out of the server's words."""
    locked.kit.faults = [Fault(WRITES, times=99, status=500, body=b'{"status":{"error":"bad key %s!"}}' % KEY.encode())]
    with running(SINKS, FromSink, {"INGESTD_QDRANT_KEY": KEY}) as child:
        begin(child, feed, locked)
        *_, trouble = child.until(lambda message: isinstance(message, Trouble))
    assert trouble.message.endswith("the server answers 500: bad key (the key)!")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"S3cret Key", "what it holds is no key"),
        (b"S3cret\nKey", "what it holds is no key"),
        (b"S3cret\xe9Key", "what it holds is no key"),
        (b"S3cret" + b"x" * MAX_KEY, "what it holds is no key"),
    ],
)
def test_a_file_without_a_key(tmp_path: Path, data: bytes | None, why: str) -> None:
    """In words, with the file's name and nothing of what is in it."""
    place = tmp_path / "key"
    if data is not None:
        place.write_bytes(data)
    with pytest.raises(Misconfigured, match=why) as raised:
        read_key(str(place), {"INGESTD_QDRANT_KEY": KEY})
    assert raised.value.object == str(place)
    assert "S3cret" not in raised.value.sentence()
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_the_key_is_refused_in_plain_text() -> None:
    """Over a network, unless it was asked for; nothing is sent before."""
    for text in ("http://10.1.2.3", "grpc://nas"):
        with pytest.raises(Misconfigured, match="plain text"):
            ServerConnection(parse(text), "photos", KEY, first=True)
        ServerConnection(parse(text), "photos", "", first=True).close()
        ServerConnection(parse(f"{text}?insecure=yes"), "photos", KEY, first=True).close()


def test_the_child_refuses_it_in_plain_text(feed: Feed) -> None:
    """Before the first packet."""
    with running(SINKS, FromSink, {"INGESTD_QDRANT_KEY": KEY}) as child:
        child.expect(Hello)
        child.send(feed.setup("qdrant-server", "http://192.0.2.1:6333"))
        fatal = child.expect(Fatal)
    assert (fatal.kind, fatal.object) == ("misconfigured", "http://192.0.2.1:6333")
    assert "https://" in fatal.remedy


def test_https(authority: Path, feed: Feed, tmp_path: Path) -> None:
    """An authority named in SSL_CERT_FILE is trusted: delivery and search; without it the server is refused."""
    kit = QdrantKit(tmp_path / "server", KEY, (authority / "cert.pem", authority / "key.pem"))
    environ = {"INGESTD_QDRANT_KEY": KEY, "SSL_CERT_FILE": str(authority / "ca.pem")}
    try:
        with running(SINKS, FromSink, environ) as child:
            child.expect(Hello)
            child.send(feed.setup("qdrant-server", kit.url))
            list(child.until(lambda message: isinstance(message, Delivered) and message.seq == 300))
            child.send(Search(1, "embed", vector(3), 2))
            assert len(child.expect(Hits).hits) == 2
        assert len(kit.points()) == 270
        with running(SINKS, FromSink, {"INGESTD_QDRANT_KEY": KEY}) as child:
            child.expect(Hello)
            child.send(feed.setup("qdrant-server", kit.url))
            fatal = child.expect(Fatal)
        assert fatal.message.startswith("its certificate is not trusted")
        assert "SSL_CERT_FILE" in fatal.remedy
    finally:
        kit.close()


def test_https_where_there_is_none(feed: Feed, tmp_path: Path) -> None:
    """A plain server under an https URL is a mistake in the URL."""
    served = Server(tmp_path)
    try:
        with running(SINKS, FromSink) as child:
            child.expect(Hello)
            child.send(feed.setup(served.name, served.place.replace("http:", "https:")))
            fatal = child.expect(Fatal)
        assert fatal.message.startswith("it does not speak TLS")
    finally:
        served.close()


def test_killed_while_it_delivers(feed: Feed, tmp_path: Path) -> None:
    """SIGKILL between any two requests, cursors stored late: one point per content, equal to the feed."""
    served = Server(tmp_path)
    feed.add(1200)
    cursor = NEW
    try:
        for life in range(3):
            served.kit.faults = [Fault(WRITES, times=99, wait_s=0.1)]
            with running(SINKS, FromSink) as child:
                begin(child, feed, served, cursor)
                *_, last = child.until(
                    lambda message, want=life: isinstance(message, Delivered) and message.seq > 200 * want
                )
                served.kit.faults[0].skip = 1
                child.process.kill()
                child.wait()
            cursor = Cursor(last.seq, last.token)
            feed.rename(life + 1)
            feed.delete(life + 100)
        served.kit.faults = []
        with running(SINKS, FromSink) as child:
            begin(child, feed, served, cursor)
            assert child.expect(Delivered).seq == cursor.seq
            list(child.until(lambda message: isinstance(message, Delivered) and message.seq == feed.end()))
            child.send(Finish())
            assert child.wait() == EXIT_OK
        assert served.state() == served.expected(feed)
    finally:
        served.close()
