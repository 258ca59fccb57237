"""The contract of a sink: whatever happens, its place ends equal to the ledger's feed.

A package with a sink of its own subclasses ``SinkContract`` in its tests, says in ``make_place`` how to look into the
place (a ``sink_places.SinkPlace``), and has every test here run against it::

    class TestCsvSink(SinkContract):
        def make_place(self, folder: Path) -> SinkPlace:
            return CsvPlace(folder)

``test_sinks`` runs it for the fake and for the file of JSON lines.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ingestd.kinds.sinks import problem_of
from ingestd.ledger.reader import PAGE
from ingestd.protocol.sink import Search
from ingestd.sinks import base
from ingestd.sinks.base import Cursor
from ingestd.sinks.document import point_id
from ingestd.testing.bad_sinks import SinkThatDiesHalfWay, SinkThatForgets, SinkThatRefuses, SlowSink
from ingestd.testing.feed import Feed, digest, feed_of, vector
from ingestd.testing.following import Clock, follow
from ingestd.testing.sink_places import NEW, SinkPlace


def same(target: SinkPlace, feed: Feed) -> bool:
    """Whether the place holds what the feed says; raises with the difference."""
    assert target.state_of(feed) == target.expected(feed)
    return True


class SinkContract(ABC):
    """What every sink does. ``target`` is the place under test, ``feed`` has 600 contents: two full pages and a short
    one."""

    @abstractmethod
    def make_place(self, folder: Path) -> SinkPlace:
        """A new place of the sink; ``folder`` is empty and for this test alone."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[SinkPlace]:
        """The place, closed after the test."""
        folder = tmp_path / "place"
        folder.mkdir()
        target = self.make_place(folder)
        yield target
        target.close()

    @pytest.fixture
    def feed(self, tmp_path: Path) -> Iterator[Feed]:
        """A ledger with a job of 600 contents."""
        folder = tmp_path / "ledger"
        folder.mkdir()
        with feed_of(folder, 600) as feed:
            yield feed

    def test_its_declaration_can_be_used(self, target: SinkPlace) -> None:
        """By the daemon, as it is and from a file; and it names the class that is a sink."""
        kind = target.kind
        assert problem_of(kind) == ""
        assert msgspec.json.decode(msgspec.json.encode(kind), type=type(kind)) == kind
        assert issubclass(base.load(kind), base.Sink)

    def test_all_is_delivered_and_reported_in_order(self, target: SinkPlace, feed: Feed) -> None:
        """Pages of 256, ``Delivered`` never falls, the last one is the feed's end; the first says where it stands."""
        line = follow(target, feed)
        assert [message.seq for message in line.delivered] == [0, PAGE, 2 * PAGE, 600]
        assert same(target, feed)
        assert len(target.state()) == (540 if target.points else 600)

    def test_an_empty_feed_is_no_trouble(self, target: SinkPlace, tmp_path: Path) -> None:
        """A sink may be started before anything is there."""
        with feed_of(tmp_path) as feed:
            line = follow(target, feed)
            assert [message.seq for message in line.delivered] == [0]
            assert target.state() == {}

    def test_opening_again_goes_on(self, target: SinkPlace, feed: Feed) -> None:
        """A new process with the stored cursor delivers only what came since."""
        cursor = follow(target, feed).cursor
        feed.add(10)
        line = follow(target, feed, cursor)
        assert [message.seq for message in line.delivered] == [600, 610]
        assert same(target, feed)

    def test_changes_arrive_as_whole_states(self, target: SinkPlace, feed: Feed) -> None:
        """Rename, copy, deletion, return and a new result are each written over what was there."""
        cursor = follow(target, feed).cursor
        feed.rename(1, b"\xfe.jpg")
        feed.copy(2, times=130)
        feed.delete(3)
        feed.again(4, "something else")
        feed.delete(5)
        cursor = follow(target, feed, cursor).cursor
        assert same(target, feed)
        feed.revive(5)
        follow(target, feed, cursor)
        assert same(target, feed)
        assert str(point_id(feed.uuid, digest(3))) not in target.state()

    def test_delivered_twice_is_delivered_once(self, target: SinkPlace, feed: Feed) -> None:
        """A cursor that was never stored (the daemon died first): the same pages again change nothing."""
        first = follow(target, feed)
        early = Cursor(first.delivered[1].seq, first.delivered[1].token)
        line = follow(target, feed, early)
        assert line.delivered[0].seq == PAGE
        assert same(target, feed)

    def test_replay_from_nothing_gives_the_same(self, target: SinkPlace, feed: Feed) -> None:
        """``rebuild`` sets the cursor to zero: what lies there is replaced, and equal."""
        feed.delete(7)
        follow(target, feed)
        before = target.state()
        line = follow(target, feed, NEW)
        assert line.delivered[0].seq == 0
        assert target.state() == before

    def test_a_place_that_is_lost_is_written_again(self, target: SinkPlace, feed: Feed) -> None:
        """The stored cursor is no proof: the sink says that it stands at 0 and delivers everything."""
        cursor = follow(target, feed).cursor
        target.lose()
        line = follow(target, feed, cursor)
        assert line.delivered[0].seq == 0
        assert same(target, feed)

    def test_a_place_of_another_job_is_not_touched(self, target: SinkPlace, feed: Feed, tmp_path: Path) -> None:
        """A cursor that does not belong to what lies there starts from nothing."""
        follow(target, feed)
        (tmp_path / "other").mkdir()
        with feed_of(tmp_path / "other", 20) as other:
            line = follow(target, other)
            assert line.delivered[0].seq == 0
            assert same(target, other)

    def test_slow(self, target: SinkPlace, feed: Feed) -> None:
        """A sink that needs minutes for a page is waited for, without trouble and without skipping."""
        clock = Clock()
        sink = SlowSink(target.make(target.setup(feed)), clock, 300)
        line = follow(target, feed, sink=sink, clock=clock)
        assert clock() == 1000 + 3 * 300
        assert line.troubles == []
        assert same(target, feed)

    def test_refuses(self, target: SinkPlace, feed: Feed) -> None:
        """Away for eight tries: waits double to a minute, each is announced, its end too, and nothing is lost."""
        sink = SinkThatRefuses(target.make(target.setup(feed)), times=8)
        line = follow(target, feed, sink=sink)
        assert [trouble.retry_s for trouble in line.troubles] == [1, 2, 4, 8, 16, 32, 60, 60, 0]
        assert line.troubles[0].message == "cannot write to the sink: connection refused"
        assert line.troubles[-1].message == ""
        assert same(target, feed)

    def test_refuses_until_the_end(self, target: SinkPlace, feed: Feed) -> None:
        """Told to finish while the place is away, it ends at once; the cursor stays, and the next life delivers."""
        sink = SinkThatRefuses(target.make(target.setup(feed)), times=10**9)
        line = follow(target, feed, sink=sink, finish_after=600)
        assert {message.seq for message in line.delivered} == {0}
        follow(target, feed, line.cursor)
        assert same(target, feed)

    def test_forgets(self, target: SinkPlace, feed: Feed) -> None:
        """What was reported is lost (an older copy came back): the next life stands lower and delivers it again."""
        cursor = follow(target, feed).cursor
        for content in (1, 2, 3):
            feed.rename(content)
        feed.delete(4)
        feed.add(300)
        sink = SinkThatForgets(target.make(target.setup(feed, cursor)), target)
        cursor = follow(target, feed, cursor, sink=sink).cursor
        assert cursor.seq == feed.end()
        assert target.state() != target.expected(feed)
        line = follow(target, feed, cursor)
        assert line.delivered[0].seq <= 600
        assert same(target, feed)

    @pytest.mark.parametrize("page", [0, 1, 2])
    def test_dies_half_way(self, target: SinkPlace, feed: Feed, page: int) -> None:
        """Half a page is there that nobody reported: it is dropped or written over."""
        cursor = follow(target, feed).cursor
        for content in range(1, 600):
            feed.rename(content)
        feed.delete(600)
        sink = SinkThatDiesHalfWay(target.make(target.setup(feed, cursor)), page)
        line = follow(target, feed, cursor, sink=sink)
        assert line.cursor.seq == 600 + page * PAGE
        follow(target, feed, line.cursor)
        assert same(target, feed)

    @pytest.mark.parametrize("seed", range(3))
    def test_any_history_ends_equal(self, target: SinkPlace, tmp_path: Path, seed: int) -> None:
        """Changes and faults in random order, cursors stored or not: after one undisturbed life all is equal."""
        chance = random.Random(seed)
        cursor, known = NEW, [NEW]
        with feed_of(tmp_path, 40) as feed:
            follow(target, feed)
            for _ in range(8):
                feed.add(chance.randrange(40))
                feed.stir(chance, chance.sample(range(1, 41), 12))
                inner = target.make(target.setup(feed, cursor))
                sink = chance.choice([inner, SinkThatDiesHalfWay(inner, 0), SinkThatRefuses(inner, 2)])
                line = follow(target, feed, cursor, sink=sink)
                known += [Cursor(message.seq, message.token) for message in line.delivered]
                cursor = chance.choice(known[-2:])
            follow(target, feed, cursor)
            assert same(target, feed)

    def test_search(self, target: SinkPlace, feed: Feed) -> None:
        """Nearest first by cosine, payload as JSON, narrowed by folder and by date; a sink without vectors says so."""

        def ask(id: int, limit: int = 3, name: str = "embed", query: bytes = vector(123), **more: object) -> Search:
            return Search(id, name, query, limit, **more)  # type: ignore[arg-type]

        cursor = follow(target, feed).cursor
        line = follow(
            target,
            feed,
            cursor,
            script=[
                ask(1),
                ask(2, limit=600, folder=b"/photos/2004/"),
                ask(3, limit=600, since="2003-06-15", until="2004-06-15"),
                ask(4, limit=600, since="2003-06-15T12:00:01Z", until="2004-06-14"),
                ask(5, name="nothing"),
                ask(6, query=b"1234"),
                ask(7, since="yesterday"),
                ask(8, limit=600, folder=b"/photos/200"),
            ],
        )
        answers = {answer.id: answer for answer in line.hits}
        if not target.kind.vectors:
            assert all(answer.hits == [] and "cannot be searched" in answer.error for answer in answers.values())
            return
        best = answers[1].hits[0]
        assert best.id == str(point_id(feed.uuid, digest(123)))
        assert best.score == pytest.approx(1, abs=1e-5)
        assert msgspec.json.decode(best.payload) == target.state()[best.id]
        assert [hit.score for hit in answers[1].hits] == sorted((hit.score for hit in answers[1].hits), reverse=True)
        years = {
            id: {msgspec.json.decode(hit.payload)["taken_at"][:4] for hit in answers[id].hits} for id in (2, 3, 4, 8)
        }
        assert years == {2: {"2004"}, 3: {"2003", "2004"}, 4: set(), 8: set()}
        assert len(answers[2].hits) == 30
        assert answers[5].error == "this store has no vectors named 'nothing'"
        assert answers[6].error == "the query has 1 dimensions, the store's vectors have 8"
        assert answers[7].error == "'yesterday' is no date: write 2020-01-31 or 2020-01-31T08:00:00Z"


class DocumentContract(SinkContract):
    """What sinks do beside that keep the whole document of a content (``sinks.document``)."""

    def test_a_document_is_whole(self, target: SinkPlace, feed: Feed) -> None:
        """Names that are no UTF-8, more paths than a point has room for, and the newest result, as they are."""
        feed.rename(1, b"\xfe.jpg")
        feed.copy(2, times=130)
        feed.again(4, "something else")
        follow(target, feed)
        state = target.state()

        def key(content: int) -> str:
            return str(point_id(feed.uuid, digest(content)))

        assert state[key(1)]["paths"] == ["/photos/moved/\ufffd.jpg"]
        assert state[key(1)]["path_b64"] == {"0": "L3Bob3Rvcy9tb3ZlZC/+LmpwZw=="}
        assert state[key(2)]["paths_total"] == 131
        assert len(state[key(2)]["paths"]) == (100 if target.points else 131)
        assert state[key(4)]["description"] == "something else"
