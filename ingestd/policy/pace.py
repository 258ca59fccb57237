"""How fast a job goes: a rate from the time that items were worked on, and an honest range for what is left. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

SAMPLES: Final = 512
RECENT: Final = 64
"""Commits of the short window, beside ``SAMPLES`` of the long one: the two rates span the range of the estimate."""

MARGIN: Final = 0.1
"""Both ends of the range are widened by this part: rates of the past are not those of the files to come."""


@dataclass(slots=True)
class Pace:
    """Samples of (seconds worked, seconds passed, items): pauses are in neither, model load in passed alone."""

    samples: deque[tuple[float, float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    last: float | None = None
    stopped: bool = True
    pass_: int = 0

    def interrupted(self) -> None:
        """The job changed its status: the time until its next commit is nobody's."""
        self.last, self.stopped = None, True

    def loaded(self, pass_: int) -> None:
        """A worker has just loaded the models of a pass: the time until now was not spent on items, but it passed.

        Passes differ in speed by orders of magnitude: what was learnt of another one is forgotten.
        """
        if pass_ != self.pass_:
            self.samples.clear()
            self.last, self.pass_ = None, pass_
        self.stopped = True

    def committed(self, items: int, now: float) -> None:
        """``items`` were committed at steady time ``now``."""
        if self.last is not None:
            passed = now - self.last
            self.samples.append((0.0 if self.stopped else passed, passed, items))
        self.last, self.stopped = now, False

    def rate(self) -> float | None:
        """Items per second, loads between batches included, or None before two commits."""
        return _rate([(passed, items) for _, passed, items in self.samples])

    def eta(self, left: int, rest: float = 0.0) -> tuple[float, float] | None:
        """Seconds for ``left`` more items, as (low, high); ``rest`` are those of the cooldowns between them."""
        if left <= 0:
            return None
        samples = list(self.samples)
        worked = [
            _rate([(worked, items) for worked, _, items in samples if worked > 0]),
            _rate([(worked, items) for worked, _, items in samples[-RECENT:] if worked > 0]),
        ]
        passed = _rate([(passed, items) for _, passed, items in samples])
        at_work = [left / rate + rest for rate in worked if rate]
        in_all = [left / passed] if passed else []
        if not at_work and not in_all:
            return None
        return min(at_work or in_all) * (1 - MARGIN), max(at_work + in_all) * (1 + MARGIN)


def _rate(samples: list[tuple[float, int]]) -> float | None:
    seconds = sum(time for time, _ in samples)
    return sum(items for _, items in samples) / seconds if seconds > 0 else None
