"""Several lists of search hits become one, by rank and not by score."""

from __future__ import annotations

import pytest

from ingestd.control.rank_fusion import FUSION_K, best_first, fuse
from ingestd.protocol.control import SearchHit


def hit(name: str, score: float) -> SearchHit:
    return SearchHit(score, f"/{name}", "", name, [f"/{name}"], 1, {"sha256": name})


def test_fusion_is_by_rank() -> None:
    """First in one list and absent from the other is less than second in both."""
    best = fuse([[hit("a", 0.9), hit("b", 0.8)], [hit("c", 0.3), hit("b", 0.2)], []])
    assert [found.id for found in best] == ["b", "a", "c"]
    assert best[0].score == pytest.approx(2 / (FUSION_K + 2))


def test_equal_scores_have_an_order() -> None:
    """The path decides, so that a search gives the same list every time."""
    assert [found.id for found in best_first([hit("b", 0.5), hit("a", 0.5), hit("c", 0.9)])] == ["c", "a", "b"]
