"""What a job will need on disk, said after its first items: a disk that is full at 3 a.m. helps nobody. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ingestd.kinds.sinks import SHIPPED, SinkKinds

AFTER_ITEMS: Final = 20
"""Items that must be through before an estimate is worth anything."""

RESERVE: Final = 32 * 1024 * 1024
"""Bytes that stay free beside the estimate: the write-ahead log between two checkpoints, the log file."""

MARGIN: Final = 1.2
"""The estimate is taken so many times: it rests on the first items alone."""

LEDGER_ROW: Final = 600
"""Bytes of an item's rows and index entries beside its results: 142 of the item itself (measured at a million rows),
the rest content, feed, their indexes and pages that are not quite full."""

LINE: Final = 700
"""Bytes of a record beside its results in a sink: paths, hashes, folders, dates."""


class Estimate(NamedTuple):
    """Bytes still to be written, and bytes free where they go."""

    needed: int
    free: int

    @property
    def fits(self) -> bool:
        return self.needed * MARGIN + RESERVE <= self.free


def estimate(left: int, bytes_per_item: float, sinks: Iterable[str], free: int, kinds: SinkKinds = SHIPPED) -> Estimate:
    """For ``left`` more items whose results average ``bytes_per_item``, into the ledger and into ``sinks`` (kinds).

    A sink holds each result as often as its kind says; one that keeps nothing on this disk takes nothing of it.
    """
    per_item = LEDGER_ROW + bytes_per_item
    copies = [kinds[kind].copies for kind in sinks if kind in kinds and kinds[kind].local]
    per_item += sum(LINE + many * bytes_per_item for many in copies)
    return Estimate(round(left * per_item), free)


def refusal(found: Estimate, place: str) -> str:
    """Why the job waits."""
    return (
        f"the disk of {place} cannot hold what is left: about {_human(found.needed)} to come and"
        f" {_human(RESERVE)} to be kept free, {_human(found.free)} are free;"
        " free some space there, it is looked at again by itself"
    )


def _human(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
