"""A row of figures, and how rows are printed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from statistics import median


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``good`` is None where there is no target; ``ratio`` where nothing is compared."""

    name: str
    target: str
    measured: str
    ratio: float | None = None
    good: bool | None = None

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        verdict = {True: "met", False: "MISSED", None: ""}[self.good]
        return self.name, self.target, self.measured, "" if self.ratio is None else f"{self.ratio:.2f}", verdict


HEADS = ("name", "target", "measured", "ratio", "")


def lines(rows: Iterable[Row]) -> list[str]:
    """The table, as wide as its cells."""
    cells = [HEADS, *(row.cells for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [text[0], "-" * len(text[0]), *text[1:]]


def of_pairs(ours: list[float], theirs: list[float]) -> float:
    """The median ratio of measurements that were made next to each other."""
    return median([a / b for a, b in zip(ours, theirs, strict=True)])


def several(values: list[float]) -> str:
    """All values of a figure, for few of them."""
    return " and ".join(f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in values)


def quantile(values: list[float], part: float) -> float:
    """The smallest value that at least ``part`` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(part * len(ordered)) - 1)]
