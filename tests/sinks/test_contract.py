"""The contract of sinks, which is shipped: for what is run from there, for other packages' sinks, and whether it finds
those that break it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ingestd.protocol.sink import SinkSetup
from ingestd.sinks.base import Sink
from ingestd.sinks.document import document, point_id
from ingestd.testing.bad_sinks import SinkThatReportsTooEarly, SinkThatSkipsDeletions, SinkThatTrustsTheCursor, Wrapped
from ingestd.testing.feed import Feed, feed_of
from ingestd.testing.sink import SinkContract
from ingestd.testing.sink_places import FakePlace, SinkPlace, State
from ingestd.testing.test_sinks import TestFakeSink, TestJsonlSink
from tests.sinks.foreign_sinks import CARDS

__all__ = ("TestFakeSink", "TestJsonlSink")
"""They are run here as well."""


class CardPlace(SinkPlace):
    """A folder of cards."""

    kind = CARDS

    def state(self) -> State:
        cards = [json.loads(card.read_text()) for card in self.place.glob("*.card")]
        return {card["id"]: card for card in cards}

    def expected(self, feed: Feed) -> State:
        living = (record for record in feed.records() if not record.deleted)
        return {str(point_id(feed.uuid, record.sha256)): document(feed.uuid, record) for record in living}

    def save(self) -> None:
        shutil.rmtree(self.spare, ignore_errors=True)
        shutil.copytree(self.place, self.spare)

    def restore(self) -> None:
        self.lose()
        shutil.copytree(self.spare, self.place)

    def lose(self) -> None:
        shutil.rmtree(self.place)


class TestCards(SinkContract):
    """As another package would use it."""

    def make_place(self, folder: Path) -> SinkPlace:
        return CardPlace(folder)


@pytest.mark.parametrize(
    ("bad", "test"),
    [
        (SinkThatSkipsDeletions, SinkContract.test_changes_arrive_as_whole_states),
        (SinkThatTrustsTheCursor, SinkContract.test_a_place_that_is_lost_is_written_again),
        (SinkThatReportsTooEarly, SinkContract.test_all_is_delivered_and_reported_in_order),
    ],
)
def test_a_sink_that_breaks_it_is_found(bad: type[Wrapped], test: Any, tmp_path: Path) -> None:
    """Each in the test whose sentence it makes untrue; the same sink without the flaw passes there."""

    class Flawed(FakePlace):
        def make(self, setup: SinkSetup) -> Sink:
            return bad(super().make(setup))

    with feed_of(tmp_path, 600) as feed:
        test(None, FakePlace(tmp_path / "good"), feed)
    (tmp_path / "again").mkdir()
    with feed_of(tmp_path / "again", 600) as feed, pytest.raises(AssertionError):
        test(None, Flawed(tmp_path / "bad"), feed)
