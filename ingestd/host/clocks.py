"""Two clocks: the wall's for records, with its time zone, and a steady one for waiting and deadlines."""

from __future__ import annotations

import time
from typing import Protocol


class Clocks(Protocol):
    """What the supervisor asks the time."""

    def wall_ms(self) -> int:
        """Unix milliseconds; may jump."""

    def steady(self) -> float:
        """Seconds that only grow, and do not run while the machine sleeps."""

    def utc_offset_s(self) -> int:
        """Seconds that local time is ahead of UTC now; a summer time or a journey changes it."""


class SystemClocks:
    """The machine's own. ``time.monotonic`` stands still during suspend on Linux and macOS."""

    def __init__(self) -> None:
        self._minute, self._offset = -1, 0

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def steady(self) -> float:
        return time.monotonic()

    def utc_offset_s(self) -> int:
        minute = int(time.time()) // 60
        if minute != self._minute:  # zones change at whole minutes, and every decision asks
            time.tzset()  # the C library reads the zone's file once and never again by itself
            self._minute, self._offset = minute, time.localtime().tm_gmtoff
        return self._offset
