"""The machine's clocks, as decisions ask them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ingestd.host.clocks import SystemClocks


@pytest.fixture(autouse=True)
def own_zone_again() -> Iterator[None]:
    yield
    time.tzset()  # after ``monkeypatch`` has taken back the variable


@pytest.mark.parametrize(
    ("zone", "seconds"), [("UTC0", 0), ("XXX-5:30", 19_800), ("XXX8", -28_800), ("XXX-13", 46_800)]
)
def test_the_zone_is_that_of_this_moment(zone: str, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds east of UTC are positive."""
    monkeypatch.setenv("TZ", zone)
    assert SystemClocks().utc_offset_s() == seconds


def test_a_zone_that_changes_is_seen_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop travels, summer ends: the daemon that has run since before then knows; in between nobody asks the C
    library thousands of times a second."""
    clocks = SystemClocks()
    monkeypatch.setattr(time, "time", lambda: 1_700_000_040.0)
    monkeypatch.setenv("TZ", "XXX-1")
    assert clocks.utc_offset_s() == 3600
    monkeypatch.setenv("TZ", "XXX-2")
    monkeypatch.setattr(time, "time", lambda: 1_700_000_099.9)
    assert clocks.utc_offset_s() == 3600
    monkeypatch.setattr(time, "time", lambda: 1_700_000_100.0)
    assert clocks.utc_offset_s() == 7200
