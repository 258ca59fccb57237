"""The verb ``pause``: what is in the model finishes, the rest is given back, and the workers end."""

from __future__ import annotations

from ingestd.control.change_status import change_status
from ingestd.control.verb_context import VerbContext
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Pause) -> c.ChangeReply:
    """See ``protocol.control.Pause``, and ``change_status`` for what is raised."""
    return await change_status(context, params, "pause")
