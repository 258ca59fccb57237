"""One order of search hits from several, by their ranks."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import msgspec

from ingestd.protocol import control as c

FUSION_K: Final = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a hit at rank r of one list is
worth 1 / (k + r)."""

FUSION_DEPTH: Final = 100
"""Hits of each list to fuse, at least: a photo that is middling in both lists may be the best of all."""


def best_first(hits: list[c.SearchHit]) -> list[c.SearchHit]:
    """By score, highest first; hits with the same score by path."""
    return sorted(hits, key=lambda hit: (-hit.score, hit.path))


def fuse(lists: list[list[c.SearchHit]]) -> list[c.SearchHit]:
    """One list from several that are each best first. A hit's ``score`` becomes the sum of 1 / (``FUSION_K`` + rank)
    over the lists that hold its content."""
    scores: dict[str, float] = defaultdict(float)
    known: dict[str, c.SearchHit] = {}
    for hits in lists:
        for rank, hit in enumerate(hits, 1):
            scores[content_of(hit)] += 1 / (FUSION_K + rank)
            known[content_of(hit)] = hit
    return best_first([msgspec.structs.replace(known[content], score=score) for content, score in scores.items()])


def content_of(hit: c.SearchHit) -> str:
    """What identifies the hit's content: the same in every job, unlike the id of its point."""
    return str(hit.payload.get("sha256") or hit.id)
