"""While the disk is full the ledger cannot be written: what a client is told then, instead of waiting for space."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from ingestd.errors import Unavailable
from ingestd.ledger.ledger import Ledger

STUCK_S: Final = 5.0
"""Seconds between two looks at the ledger. It is called stuck when both find it in trouble."""


def check_writable(ledger: Ledger, operation: str, object: str) -> None:
    """Raises ``Unavailable`` while the ledger cannot be written: a change would wait until there is space again."""
    if trouble := ledger.trouble:
        raise Unavailable(
            trouble, operation=operation, object=object,
            remedy="Free some space where the state folder lies (ingestctl status names it), then try again",
        )  # fmt: skip


async def unless_stuck(ledger: Ledger, effect: Callable[[], Awaitable[None]], operation: str) -> None:
    """Wait for ``effect``, which writes the ledger. Raises ``Unavailable`` when it is stuck: the job has changed by
    then, but that is not stored."""
    stuck = ""

    async def watch() -> None:
        nonlocal stuck
        while not stuck:
            before = ledger.trouble
            await anyio.sleep(STUCK_S)
            stuck = before and ledger.trouble
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await effect()
        tasks.cancel_scope.cancel()
    if stuck:
        raise Unavailable(
            f"it was asked, but cannot be stored: {stuck}", operation=operation, object="the job for good",
            remedy="Free some space where the state folder lies (ingestctl status names it); it is stored then",
        )  # fmt: skip
