"""The verb ``hello``: the protocol's number, the daemon's version and its pid."""

from __future__ import annotations

import os

from ingestd import __version__
from ingestd.control.verb_context import VerbContext
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Hello) -> c.HelloReply:
    """See ``protocol.control.Hello``."""
    return c.HelloReply(c.PROTOCOL, __version__, os.getpid())
