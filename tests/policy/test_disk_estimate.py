"""The estimate of what a job will need on disk."""

from __future__ import annotations

import pytest

from ingestd.policy.disk_estimate import RESERVE, Estimate, estimate, refusal


def test_more_sinks_and_larger_results_need_more() -> None:
    """Every sink holds its own copy of what a step made; the ledger always holds one."""
    alone = estimate(1000, 2_000, [], 10**12)
    lines = estimate(1000, 2_000, ["jsonl"], 10**12)
    both = estimate(1000, 2_000, ["jsonl", "qdrant"], 10**12)
    assert alone.needed < lines.needed < both.needed
    assert alone.needed >= 1000 * 2_000
    assert estimate(2000, 2_000, [], 1).needed == 2 * alone.needed


@pytest.mark.parametrize(
    ("needed", "free", "fits"),
    [
        (0, RESERVE, True),
        (0, RESERVE - 1, False),
        (1_000_000, RESERVE + 1_000_000, False),  # the margin is not there
        (1_000_000, RESERVE + 1_200_000, True),
    ],
)
def test_an_estimate_fits_with_its_margin_and_the_reserve(needed: int, free: int, fits: bool) -> None:
    """A job goes on only where the rest fits with room to spare."""
    assert Estimate(needed, free).fits is fits


def test_the_refusal_says_place_need_and_way_on() -> None:
    """The reason that ``status`` prints names the disk, both figures and what to do."""
    text = refusal(Estimate(5_300_000_000, 400_000_000), "/photos/state")
    assert "/photos/state" in text
    assert "5 GB" in text
    assert "400 MB" in text
    assert "free some space" in text
