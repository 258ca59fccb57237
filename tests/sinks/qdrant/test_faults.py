"""The server sink under each fault of a server, through the real client over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import Misconfigured, Unavailable
from ingestd.ledger.reader import PAGE, feed_page, open_reader
from ingestd.protocol.sink import Delivered, Grown, Search, Trouble
from ingestd.sinks.base import AskedToWait
from ingestd.sinks.document import point_id
from ingestd.sinks.follow import Follower
from ingestd.sinks.qdrant.server_sink import ServerSink
from ingestd.testing.feed import JOB, Feed, feed_of, vector
from ingestd.testing.following import Clock, LocalLine, follow
from ingestd.testing.sink_places import NEW
from tests.qdranthttp import DELETES, WRITES, Fault
from tests.sinks.qdrant.places import Server
from tests.sinks.qdrant.serverkit import same, sink_of

# ------------------------------------------------------------------------------------------------------ what goes wrong

FAULTS: dict[str, tuple[list[Fault], str]] = {
    "500": ([Fault(WRITES, times=3, status=500)], "the server answers 500: Service internal error"),
    "502 of a proxy": ([Fault(WRITES, times=2, status=502, body=b"<html>")], "the server answers 502"),
    "503 at opening": ([Fault("GET", times=2, status=503)], "the server answers 503"),
    "500 after applying": ([Fault(WRITES, status=500, applied=True)], "the server answers 500"),
    "500 after half a batch": ([Fault(WRITES, times=2, status=500, applied=True, share=0.5)], "the server answers 500"),
    "500 at a delete": ([Fault(DELETES, status=500, skip=1)], "the server answers 500"),
    "cut before an answer": ([Fault(WRITES, times=2, cut=0)], "the connection was cut"),
    "cut half way": ([Fault(WRITES, times=2, cut=90)], "the connection was cut"),
    "cut after applying": ([Fault(WRITES, times=2, cut=90, applied=True)], "the connection was cut"),
    "late after applying": ([Fault(WRITES, wait_s=6, status=200, applied=True)], "no answer in time"),
    "late, not applied": ([Fault(WRITES, wait_s=6, status=200)], "no answer in time"),
    "429 with a pause": ([Fault(WRITES, status=429, headers={"Retry-After": "40"})], "the server asks for fewer"),
    "429 with a date": ([Fault(WRITES, status=429, headers={"Retry-After": "Wed, 21 Oct"})], "the server asks for f"),
    "429 alone": ([Fault(WRITES, times=2, status=429)], "the server asks for fewer requests"),
    "429 at opening": ([Fault("GET", status=429, headers={"Retry-After": "7"})], "the server asks for fewer requests"),
    "noted, not applied": (
        [Fault(WRITES, body=b'{"result":{"operation_id":1,"status":"acknowledged"},"status":"ok","time":0}')],
        "the server has noted the write and not applied it (acknowledged)",
    ),
    "a hotel's page": ([Fault(WRITES, body=b"<html>pay here</html>", skip=2)], "its answer is none that a Qdrant"),
    "a hotel's redirect": ([Fault(WRITES, status=302, body=b"", skip=2)], "it answers 302, and not as a Qdrant server"),
    "404 of a proxy": ([Fault(WRITES, status=404, body=b"no backend", skip=2)], "it answers 404, and not as a Qdrant"),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_waited_out(served: Server, feed: Feed, name: str) -> None:
    """Said in words, the same page again, nothing lost, nothing twice; a cursor never runs ahead of the server."""
    served.kit.faults, why = FAULTS[name]

    class Watching(LocalLine):
        def send(self, message: Any) -> None:
            super().send(message)
            if isinstance(message, Delivered):
                reader = open_reader(feed.path)
                done = [key for key, point in there(message.seq, reader)]
                reader.close()
                assert set(done) <= set(served.state())

    def there(seq: int, reader: Any) -> Iterator[tuple[str, bool]]:
        for record in feed_page(reader, JOB, 0, 10_000):
            if record.seq <= seq and "embed" in (record.results or {}):
                yield str(point_id(feed.uuid, record.sha256)), True

    clock = Clock()
    line = Watching(clock)
    setup = served.setup(feed)
    Follower(line, setup, served.make(setup), clock=clock, chance=lambda: 0.0).run()
    assert all(fault.times == 0 for fault in served.kit.faults), "the fault did not happen"
    assert line.troubles[0].message.startswith(f"cannot {'open' if 'opening' in name else 'write to'} the collection")
    assert why in line.troubles[0].message
    assert line.troubles[-1] == Trouble("", "", 0)
    assert line.cursor.seq == 600
    assert [message.seq for message in line.delivered] == sorted(message.seq for message in line.delivered)
    assert same(served, feed)


def test_a_pause_that_the_server_asks_for_is_kept(served: Server, feed: Feed) -> None:
    """``Retry-After`` is waited out whole, news notwithstanding; the place stays open and answers searches."""
    served.kit.faults = [Fault(WRITES, status=429, headers={"Retry-After": "40"}, skip=2)]
    clock = Clock()
    script = [Grown(600), Search(1, "embed", vector(3), 1)]
    line = follow(served, feed, clock=clock, script=[*script, *script, *script])
    assert line.troubles[0].retry_s == 40
    assert clock() >= 1040
    assert len(served.kit.asked("GET")) == 2, "nothing there is in doubt, and yet it was opened again"
    assert same(served, feed)
    served.kit.faults = [Fault("GET", status=429, headers={"Retry-After": "40"})]
    with pytest.raises(AskedToWait):
        sink_of(served, feed).open(NEW)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(body=b"<html>It works!</html>"), "its answer is none that a Qdrant server gives"),
        (Fault(body=b"{}"), "its answer is none that a Qdrant server gives"),
        (Fault(body=b"[]"), "its answer is none that a Qdrant server gives"),
        (Fault(status=404, body=b"Not Found"), "it answers 404, and not as a Qdrant server does"),
        (Fault(status=301, body=b"", headers={"Location": "https://x"}), "it answers 301, and not as a Qdrant server"),
        (Fault(status=405, body=b""), "it answers 405, and not as a Qdrant server does"),
    ],
)
def test_a_first_contact_with_something_else_is_a_mistake(served: Server, feed: Feed, fault: Fault, why: str) -> None:
    """Before anything was ever delivered there, it is the URL that is wrong, and waiting would not help."""
    served.kit.faults = [fault]
    with pytest.raises(Misconfigured) as raised:
        follow(served, feed)
    assert raised.value.message.startswith(why)
    assert "Check the URL" in raised.value.remedy


@pytest.mark.usefixtures("quick")
def test_refused_connections_are_waited_out(served: Server, feed: Feed) -> None:
    """A server that is not there yet: no trouble but the waiting, said in two words."""
    served.kit.stop()
    line = follow(served, feed, finish_after=100)
    assert [message.seq for message in line.delivered] == []
    assert line.troubles[0].message.endswith(f"at {served.kit.url}: connection refused")
    served.kit.start()
    follow(served, feed)
    assert same(served, feed)


def test_a_name_that_is_not_known(served: Server, feed: Feed) -> None:
    """A laptop that is offline knows no name: it waits."""
    served.place = "http://no-such-host.invalid:6333"
    line = follow(served, feed, finish_after=5)
    assert line.troubles[0].message.endswith(": its name is not known here")


@pytest.mark.usefixtures("quick")
def test_an_outage_of_a_minute(served: Server, feed: Feed) -> None:
    """The server goes away in mid-delivery and is back after six tries, which is a minute of the follower's clock:
    nothing is lost, every point is there once, and it was asked no more often."""
    feed.add(2400)

    class Interrupted(LocalLine):
        def send(self, message: Any) -> None:
            super().send(message)
            if isinstance(message, Delivered) and message.seq == 4 * PAGE and not self.troubles:
                served.kit.stop()
            if len(self.troubles) == 6 and isinstance(message, Trouble):
                served.kit.start()

    clock = Clock()
    began = clock()
    line = Interrupted(clock)
    setup = served.setup(feed)
    Follower(line, setup, served.make(setup), clock=clock, chance=lambda: 0.0).run()
    assert line.cursor.seq == 3000
    assert [trouble.retry_s for trouble in line.troubles] == [1, 2, 4, 8, 16, 32, 0]
    assert clock() == began + 63
    assert same(served, feed)
    assert len(served.kit.points()) == 2700


STATUSES = (400, 401, 403, 404, 405, 408, 409, 413, 415, 418, 422, 429, 500, 501, 503, 507, 599)


@pytest.mark.parametrize("where", ["GET", "PUT /collections/[^/]+$", ".*index", ".*count", WRITES])
def test_errors_are_of_the_known_kinds(served: Server, tmp_path: Path, where: str) -> None:
    """Whatever status a server answers, at whichever request, the sink says it in one of its kinds."""

    def begin(sink: ServerSink) -> None:
        sink.open(NEW)
        sink.deliver(page)

    with feed_of(tmp_path, 8) as feed:
        reader = open_reader(feed.path)
        page = feed_page(reader, JOB, 0)
        reader.close()
        for status in STATUSES:
            served.kit.drop()
            served.kit.faults = [Fault(where, times=1000, status=status)]
            sink = sink_of(served, feed)
            with pytest.raises((Unavailable, Misconfigured)) as raised:
                begin(sink)
            assert str(status) in raised.value.message or status in (404, 429), (status, raised.value.message)
            sink.close()
