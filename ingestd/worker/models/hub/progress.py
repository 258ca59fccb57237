"""How far a fetch has got, told at a sane rate, and never backwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ingestd.worker.steps.base import Tell

EVERY_S: Final = 0.5


class Progress:
    """Bytes of one model: those of whole files, and those of the file under way."""

    def __init__(self, tell: Tell, model: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._model = model
        self._total = total
        self._clock = clock
        self._whole = 0
        self._told = 0
        self._next = 0.0
        self.current = 0

    def at(self, size: int) -> None:
        """The file under way has ``size`` bytes here."""
        self.current = size
        if self._clock() >= self._next:
            self.beat()

    def finished(self, size: int) -> None:
        """The file under way is whole."""
        self._whole += size
        self.at(0)

    def beat(self) -> None:
        """Tell now: also a sign of life while nothing comes."""
        # A file that is begun again does not take back what was told.
        self._told = max(self._told, self._whole + self.current)
        self._next = self._clock() + EVERY_S
        self._tell(self._model, self._told, self._total)
