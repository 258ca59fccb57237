"""Two clocks: the wall's for records, a steady one for waiting and deadlines."""

from __future__ import annotations

import time
from typing import Protocol


class Clocks(Protocol):
    """What the supervisor asks the time."""

    def wall_ms(self) -> int:
        """Unix milliseconds; may jump."""

    def steady(self) -> float:
        """Seconds that only grow, and do not run while the machine sleeps."""


class SystemClocks:
    """The machine's own. ``time.monotonic`` stands still during suspend on Linux and macOS."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def steady(self) -> float:
        return time.monotonic()
