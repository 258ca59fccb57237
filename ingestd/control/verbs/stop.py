"""The verb ``stop``: jobs end for good; their results stay."""

from __future__ import annotations

from ingestd.control.change_status import change_status
from ingestd.control.verb_context import VerbContext
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Stop) -> c.ChangeReply:
    """See ``protocol.control.Stop``, and ``change_status`` for what is raised."""
    return await change_status(context, params, "stop")
