"""The verb ``shutdown``: end the daemon; running jobs go on when it starts again."""

from __future__ import annotations

import os

from ingestd.control.verb_context import VerbContext
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Shutdown) -> c.ShutdownReply:
    """See ``protocol.control.ShutdownReply``."""
    await context.stop()
    return c.ShutdownReply(os.getpid())
