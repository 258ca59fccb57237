"""The real child process: start, killed at any moment, cut off, told to finish, searched while it works."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ingestd.errors import EXIT_OK
from ingestd.protocol.sink import Delivered, FromSink, Grown, Hits, Search, Trouble
from ingestd.protocol.work import Fatal, Finish, Hello
from ingestd.sinks.base import Cursor
from ingestd.sinks.document import point_id
from ingestd.testing.feed import Feed, digest, feed_of, vector
from ingestd.testing.sink_places import NEW, JsonlPlace, SinkPlace
from tests.childkit import Child, running
from tests.sinks.qdrant.places import Edge

SINKS = "ingestd.sinks"
KILLS = 5


@pytest.fixture(params=[JsonlPlace, Edge])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> SinkPlace:
    made: SinkPlace = request.param(tmp_path)
    return made


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    with feed_of(tmp_path, 1500) as feed:
        yield feed


def begin(child: Child, feed: Feed, kind: SinkPlace, cursor: Cursor = NEW) -> None:
    assert child.expect(Hello).kind == "sink"
    child.send(kind.setup(feed, cursor))


def until_delivered(child: Child, seq: int) -> Cursor:
    """What the daemon would store, once the sink has reached ``seq``."""
    *_, last = child.until(lambda message: isinstance(message, Delivered) and message.seq >= seq)
    return Cursor(last.seq, last.token)


def test_follows_as_the_feed_grows(kind: SinkPlace, feed: Feed) -> None:
    """Delivers what is there, sleeps, wakes on ``Grown``, and ends with exit code 0 on ``Finish``."""
    with running(SINKS, FromSink) as child:
        begin(child, feed, kind)
        until_delivered(child, 1500)
        feed.add(5)
        feed.delete(1)
        child.send(Grown(feed.end()))
        until_delivered(child, feed.end())
        feed.rename(2)
        child.send(Grown(feed.end()))
        child.send(Finish())
        assert until_delivered(child, feed.end()).seq == feed.end()
        assert child.wait() == EXIT_OK
    assert kind.state() == kind.expected(feed)


def test_killed_at_any_moment(kind: SinkPlace, feed: Feed) -> None:
    """SIGKILL at random moments, the newest cursors stored or lost: one line or point per key, equal to the feed."""
    chance = random.Random(time.time_ns())
    known = [NEW]
    for life in range(KILLS):
        with running(SINKS, FromSink) as child:
            begin(child, feed, kind, known[-1])
            if life % 2:  # in the middle of the pages; else while it starts
                child.expect(Delivered)
            time.sleep(chance.random() * 0.15)
            child.process.kill()
            child.wait()
            said = [message for message in child.until(lambda _: False) if isinstance(message, Delivered)]
            known += [Cursor(message.seq, message.token) for message in said]
        known = known[: max(1, len(known) - chance.randrange(2))]  # the daemon may have died before it stored the last
        feed.stir(chance, chance.sample(range(1, 1500), 100))
        feed.add(life * 50)
    with running(SINKS, FromSink) as child:
        begin(child, feed, kind, known[-1])
        until_delivered(child, feed.end())
        child.send(Finish())
        assert child.wait() == EXIT_OK
    assert kind.state() == kind.expected(feed)
    if isinstance(kind, JsonlPlace):
        assert len(kind.state()) == len({line["sha256"] for line in kind.state().values()})


def test_ends_with_the_daemon(kind: SinkPlace, feed: Feed) -> None:
    """A socket that ends is a daemon that is gone: the child is too, and leaves a place that opens again."""
    with running(SINKS, FromSink) as child:
        begin(child, feed, kind)
        cursor = until_delivered(child, 256)
        child.close_socket()
        assert child.wait(2) != EXIT_OK
    with running(SINKS, FromSink) as child:
        begin(child, feed, kind, cursor)
        assert child.expect(Delivered).seq == cursor.seq
        until_delivered(child, 1500)


def test_one_process_at_a_time(kind: SinkPlace, feed: Feed) -> None:
    """A second sink for the same place waits in words; once the first is killed it goes on by itself."""
    with running(SINKS, FromSink) as first, running(SINKS, FromSink) as second:
        begin(first, feed, kind)
        cursor = until_delivered(first, 1500)
        begin(second, feed, kind, cursor)
        trouble = second.expect(Trouble)
        assert trouble.message == f"cannot open {kind.place}: another process is writing there"
        second.send(Search(1, "embed", vector(1), 1))
        assert second.expect(Hits).error.startswith("the sink is not open: cannot open")
        first.process.kill()
        assert second.expect(Delivered, 5) == Delivered(1500, cursor.token)
        assert second.expect(Trouble).message == ""


def test_an_unknown_kind_is_misconfigured(feed: Feed, tmp_path: Path) -> None:
    """The daemon is told what would help, in a ``Fatal``."""
    with running(SINKS, FromSink) as child:
        child.expect(Hello)
        child.send(feed.setup("punchcards", tmp_path / "deck"))
        fatal = child.expect(Fatal)
        assert (fatal.kind, fatal.object) == ("misconfigured", "punchcards")
        assert "Install the package that has it" in fatal.remedy
        assert child.wait() == 1


def test_an_absent_ledger_is_trouble(kind: SinkPlace, feed: Feed, tmp_path: Path) -> None:
    """The sink says so and keeps trying: the daemon decides what a lost ledger means."""
    with running(SINKS, FromSink) as child:
        child.expect(Hello)
        setup = msgspec.structs.replace(kind.setup(feed), ledger=str(tmp_path / "none.db"))
        child.send(setup)
        child.expect(Delivered)
        assert child.expect(Trouble).message.startswith(f"cannot read {tmp_path}/none.db")


def test_search_is_answered_during_a_bulk_delivery(tmp_path: Path) -> None:
    """A question asked while thousands of points are written is answered between two pages."""
    kind = Edge(tmp_path)
    with feed_of(tmp_path, 3000) as feed, running(SINKS, FromSink) as child:
        begin(child, feed, kind)
        child.expect(Delivered)
        child.expect(Delivered)
        asked = time.monotonic()
        child.send(Search(7, "embed", vector(13), 1))
        seen = list(child.until(lambda message: isinstance(message, Hits)))
        waited = time.monotonic() - asked
        assert seen[-1].hits[0].id == str(point_id(feed.uuid, digest(13)))
        assert sum(isinstance(message, Delivered) for message in seen) < 10, "it was answered after the bulk"
        assert waited < 5


def test_a_sink_imports_only_its_own_engine() -> None:
    """A kind costs its own libraries alone: the file sink never pays for the vector store, nobody for numpy."""
    code = "import sys, ingestd.sinks.__main__, ingestd.sinks.jsonl.sink; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"qdrant_edge", "qdrant_client", "httpx", "numpy", "torch", "anyio"} & set(modules)
