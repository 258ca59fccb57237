"""The verb ``config``: every setting with its value and where that comes from."""

from __future__ import annotations

from ingestd.control.verb_context import VerbContext
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Config) -> c.ConfigReply:
    """See ``protocol.control.ConfigRow``."""
    return c.ConfigReply([c.ConfigRow(key, s.value, s.source) for key, s in context.settings.values.items()])
