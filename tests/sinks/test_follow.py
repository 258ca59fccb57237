"""The follower's own decisions, on a clock that passes only when it waits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ingestd.errors import Misconfigured, ProtocolError, Unavailable
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Grown, Hit, Search
from ingestd.protocol.work import Finish
from ingestd.sinks import follow as follow_module
from ingestd.sinks.base import AskedToWait, Sink
from ingestd.sinks.follow import LONGEST_PAUSE_S, LONGEST_RETRY_S, retry_after
from ingestd.testing.bad_sinks import SinkThatRefuses, SlowSink, Wrapped
from ingestd.testing.feed import Feed, feed_of, vector
from ingestd.testing.following import Clock, follow
from ingestd.testing.sink_places import NEW, FakePlace


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"),
    [(1, 0, 1), (2, 0, 2), (6, 0, 32), (7, 0, 60), (10_000, 0, 60), (1, 0.5, 0.9), (7, 0.999, 48.012)],
)
def test_waits_double_to_a_minute_with_jitter(attempt: int, chance: float, seconds: float) -> None:
    """Jitter only ever shortens, so what was announced is not exceeded."""
    assert retry_after(attempt, chance) == pytest.approx(seconds)


def test_grown_wakes_a_long_wait(tmp_path: Path) -> None:
    """News shortens a wait to the first one's length; a place that is away is not asked more often than that."""
    kind = FakePlace(tmp_path)
    clock = Clock()
    with feed_of(tmp_path, 5) as feed:
        sink = SinkThatRefuses(kind.make(kind.setup(feed)), times=10)
        line = follow(kind, feed, sink=sink, clock=clock, script=[Grown(5)] * 20)
        assert line.cursor.seq == 5
    assert clock() <= 1000 + 10 * LONGEST_RETRY_S
    assert clock() >= 1000 + 10, "ten tries need at least a second each"


def test_finish_wakes_a_long_wait(tmp_path: Path) -> None:
    """A daemon that stops does not wait for a place that is away."""
    kind = FakePlace(tmp_path)
    clock = Clock()
    with feed_of(tmp_path, 5) as feed:
        sink = SinkThatRefuses(kind.make(kind.setup(feed)), times=10)
        line = follow(kind, feed, sink=sink, clock=clock, script=[Finish()])
        assert len(line.troubles) == 1
    assert clock() == 1000


def test_finish_has_a_bound(tmp_path: Path) -> None:
    """What is not delivered some seconds after ``Finish`` is left to the next start."""
    kind = FakePlace(tmp_path)
    clock = Clock()
    with feed_of(tmp_path, 256 * 8) as feed:
        sink = SlowSink(kind.make(kind.setup(feed)), clock, 2)
        line = follow(kind, feed, sink=sink, clock=clock, script=[Finish()])
        assert line.cursor.seq == 256 * 4
        follow(kind, feed, line.cursor)
        assert kind.state() == kind.expected(feed)


def test_a_search_during_a_wait_is_answered(tmp_path: Path) -> None:
    """Trouble with writing does not stop reading."""
    kind = FakePlace(tmp_path)
    with feed_of(tmp_path, 5) as feed:
        cursor = follow(kind, feed).cursor
        feed.add(1)
        sink = SinkThatRefuses(kind.make(kind.setup(feed, cursor)), times=3)
        line = follow(kind, feed, cursor, sink=sink, script=[Search(1, "embed", vector(2), 1)])
        assert [len(answer.hits) for answer in line.hits] == [1]
        assert line.sent.index(line.hits[0]) < line.sent.index(line.troubles[-1])


def test_an_answer_fits_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hits beyond the size of an answer are left out, best first."""

    class SinkWithLongPayloads(Wrapped):
        def search(self, ask: Search) -> list[Hit]:
            return [Hit(str(number), 1 - number / 10, b"x" * 100) for number in range(10)]

    monkeypatch.setattr(follow_module, "MAX_ANSWER", 450)
    kind = FakePlace(tmp_path)
    with feed_of(tmp_path, 1) as feed:
        sink = SinkWithLongPayloads(kind.make(kind.setup(feed)))
        line = follow(kind, feed, sink=sink, script=[Grown(1), Search(1, "embed", vector(2), 10)])
        assert [hit.id for hit in line.hits[0].hits] == ["0", "1", "2", "3"]


def test_a_second_setup_is_a_defect(tmp_path: Path) -> None:
    """Out of turn is an error, not a guess."""
    kind = FakePlace(tmp_path)
    with feed_of(tmp_path, 1) as feed, pytest.raises(ProtocolError):
        follow(kind, feed, script=[feed.setup("memory", "x")])


def test_misconfigured_ends_it(tmp_path: Path) -> None:
    """Only a person can help: it is raised, not waited out."""

    class SinkThatIsForbidden(Wrapped):
        def open(self, cursor: object) -> object:  # type: ignore[override]
            raise Misconfigured("permission denied", operation="open", object="x", remedy="y")

    kind = FakePlace(tmp_path)
    with feed_of(tmp_path, 1) as feed:
        sink = SinkThatIsForbidden(kind.make(kind.setup(feed)))
        with pytest.raises(Misconfigured):
            follow(kind, feed, NEW, sink=sink)


def test_a_short_page_is_not_the_end(tmp_path: Path) -> None:
    """``Grown`` beyond what a page held is remembered."""
    kind = FakePlace(tmp_path)
    with feed_of(tmp_path, 3) as feed:
        grown: Feed = feed
        line = follow(kind, grown, script=[Grown(3), Grown(2)])
        assert line.cursor.seq == 3


class SinkThatTidies(Wrapped):
    """Notes when it is told that it has caught up; fails at the first ``failures`` of them."""

    def __init__(self, inner: Sink, failures: int = 0) -> None:
        super().__init__(inner)
        self.told: list[int] = []
        self.delivered = 0
        self._failures = failures

    def deliver(self, page: Sequence[Record]) -> str:
        self.delivered = page[-1].seq
        return super().deliver(page)

    def caught_up(self) -> None:
        self.told.append(self.delivered)
        if len(self.told) <= self._failures:
            raise Unavailable("connection refused", operation="set up", object="the sink", remedy="Start it")


def test_a_sink_is_told_when_nothing_is_left(tmp_path: Path) -> None:
    """Never between full pages, and again after each stretch of news; a failure is waited out and tried again."""
    kind = FakePlace(tmp_path)
    with feed_of(tmp_path, 512) as feed:
        sink = SinkThatTidies(kind.make(kind.setup(feed)), failures=2)
        line = follow(kind, feed, sink=sink)
        assert sink.told[:3] == [512, 512, 512]
        assert set(sink.told) == {512}
        assert [trouble.retry_s for trouble in line.troubles] == [1, 2, 0]
        sink = SinkThatTidies(kind.make(kind.setup(feed)))
        follow(kind, feed, line.cursor, sink=sink)
        assert set(sink.told) == {0}


@pytest.mark.parametrize(("asked", "waited"), [(0, 1), (0.5, 1), (40, 40), (86_400, LONGEST_PAUSE_S)])
def test_a_pause_that_was_asked_for(tmp_path: Path, asked: float, waited: float) -> None:
    """At least the sink's own first wait, at most ten minutes, and news does not shorten it."""

    class SinkThatAsks(SinkThatTidies):
        def deliver(self, page: Sequence[Record]) -> str:
            if clock() < 1000 + waited:
                raise AskedToWait("busy", operation="write to", object="the sink", remedy="Wait", seconds=asked)
            return super().deliver(page)

    kind = FakePlace(tmp_path)
    clock = Clock()
    with feed_of(tmp_path, 5) as feed:
        sink = SinkThatAsks(kind.make(kind.setup(feed)))
        line = follow(kind, feed, sink=sink, clock=clock, script=[Grown(5)] * 3)
    assert [trouble.retry_s for trouble in line.troubles] == [waited, 0]
    assert clock() == 1000 + waited
