"""The verb ``logs``: where the daemon's log is."""

from __future__ import annotations

from ingestd.control.verb_context import VerbContext
from ingestd.host.log_note import where
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Logs) -> c.LogsReply:
    """See ``protocol.control.LogsReply``."""
    return c.LogsReply(where(context.supervisor.places.log_file))
