"""A server that no longer holds what it acknowledged: noticed, and delivered again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ingestd.ledger.reader import PAGE
from ingestd.protocol.sink import Delivered, Trouble
from ingestd.sinks.follow import Follower
from ingestd.testing.feed import DIM, Feed
from ingestd.testing.following import Clock, LocalLine, follow
from ingestd.testing.sink_places import NEW
from tests.sinks.qdrant.places import Server
from tests.sinks.qdrant.serverkit import key, same, writes

# -------------------------------------------------------------------------------------- what the server no longer holds


def _forget_one(served: Server, feed: Feed) -> None:
    served.kit.forget([key(feed, 77)])


def _forget_a_tenth(served: Server, feed: Feed) -> None:
    served.kit.forget([key(feed, content) for content in range(100, 160)])


def _forget_the_last(served: Server, feed: Feed) -> None:
    served.kit.forget([key(feed, 599)])
    served.kit.put(
        served.collection(feed), [{"id": key(feed, 10), "vector": {}, "payload": {"ingestd_job": str(feed.uuid)}}]
    )


def _drop(served: Server, feed: Feed) -> None:
    served.kit.drop()


def _make_anew(served: Server, feed: Feed) -> None:
    served.kit.drop()
    served.kit.create(served.collection(feed), {"embed": {"size": DIM, "distance": "Cosine"}})


@pytest.mark.parametrize("harm", [_forget_one, _forget_a_tenth, _forget_the_last, _drop, _make_anew])
def test_points_that_were_forgotten_come_back(served: Server, feed: Feed, harm: Callable[[Server, Feed], None]) -> None:
    """The next opening says that it stands at 0, and everything is there again."""
    cursor = follow(served, feed).cursor
    harm(served, feed)
    line = follow(served, feed, cursor)
    assert [message.seq for message in line.delivered] == [0, PAGE, 2 * PAGE, 600]
    found = served.state_of(feed)
    found.pop(key(feed, 10), None)
    assert found == served.expected(feed)
    assert follow(served, feed, line.cursor).delivered[0].seq == 600


def test_news_does_not_hide_what_was_forgotten(served: Server, feed: Feed) -> None:
    """Points that were written and not reported can only be more than were counted, however many they are."""
    cursor = follow(served, feed).cursor
    _forget_a_tenth(served, feed)
    feed.add(300)
    line = follow(served, feed, cursor)
    assert line.delivered[0].seq == 0
    assert same(served, feed)


def test_an_older_snapshot_is_noticed_by_renames_alone(served: Server, feed: Feed) -> None:
    """The same number of points, and the newest are older than they were."""
    cursor = follow(served, feed).cursor
    served.save()
    feed.rename(5)
    cursor = follow(served, feed, cursor).cursor
    served.restore()
    assert follow(served, feed, cursor).delivered[0].seq == 0
    assert same(served, feed)


def test_an_older_snapshot_is_noticed_by_deletions_alone(served: Server, feed: Feed) -> None:
    """A point that was deleted and is there again."""
    cursor = follow(served, feed).cursor
    served.save()
    feed.delete(5)
    cursor = follow(served, feed, cursor).cursor
    served.restore()
    assert follow(served, feed, cursor).delivered[0].seq == 0
    assert same(served, feed)


def test_a_page_that_was_not_reported_is_no_loss(served: Server, feed: Feed) -> None:
    """After a death between writing and reporting, only what the cursor lacks is delivered again."""
    cursor = follow(served, feed).cursor
    for content in range(590, 601):
        feed.rename(content)
    for content in range(1, 40):
        feed.delete(content)
    follow(served, feed, cursor)  # and nobody stored what it said
    before = writes(served)
    line = follow(served, feed, cursor)
    assert line.delivered[0].seq == 600
    assert writes(served) - before == 1
    assert same(served, feed)


@pytest.mark.usefixtures("quick")
def test_what_was_lost_in_an_outage_is_noticed_without_a_restart(served: Server, feed: Feed) -> None:
    """The same process compares again when the server is back."""
    served.save()
    clock = Clock()

    class Script(LocalLine):
        def send(self, message: Any) -> None:
            super().send(message)
            if isinstance(message, Delivered) and message.seq == 2 * PAGE and not self.troubles:
                served.kit.stop()
            if isinstance(message, Trouble) and message.message and len(self.troubles) == 2:
                served.restore()
                served.kit.start()

    line = Script(clock)
    setup = served.setup(feed)
    Follower(line, setup, served.make(setup), clock=clock, chance=lambda: 0.0).run()
    assert [message.seq for message in line.delivered] == [0, PAGE, 2 * PAGE, 0, PAGE, 2 * PAGE, 600]
    assert same(served, feed)


def test_rebuild_leaves_no_orphan(served: Server, feed: Feed) -> None:
    """A point of this job that the feed does not know goes when the cursor is set to zero."""
    follow(served, feed)
    orphan = {"id": key(feed, 9999), "vector": {"embed": [1.0] * DIM}, "payload": {"ingestd_job": str(feed.uuid)}}
    served.kit.put(served.collection(feed), [orphan])
    follow(served, feed, NEW)
    assert same(served, feed)
