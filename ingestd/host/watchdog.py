"""Signs of life for the service manager, each the end of a round through everything that must get on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from ingestd.host.notify import Notifier

BEATS: Final = 4
"""Rounds in the time after which silence means death; sd_watchdog_enabled(3) asks for two at least."""


async def beat(notifier: Notifier, *rounds: Callable[[], Awaitable[None]]) -> None:
    """A sign of life after each round, until cancelled; none where no watchdog is set.

    What does not come back from its round (a supervisor that decides nothing more, a thread that stands) stops the
    signs, and the manager restarts the daemon. A slow model is in no round.
    """
    if notifier.watchdog_s is None:
        return
    while True:
        for through in rounds:
            await through()
        notifier.alive()
        await anyio.sleep(notifier.watchdog_s / BEATS)
