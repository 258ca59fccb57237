"""The child that looks at sinks: every kind by its own check, and none of them in another's way."""

from __future__ import annotations

from ingestd.testing.feed import Feed
from tests.sinks.doctorkit import look


def test_a_kind_that_is_not_known(feed: Feed) -> None:
    """A job of a newer release."""
    assert look(feed, "paper", "/dev/printer").level == "warn"
