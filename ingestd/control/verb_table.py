"""The table of verbs: each name with the handler in its file below ``verbs/``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from ingestd.control.transport.server import Handler, Streamer
from ingestd.control.verb_context import VerbContext
from ingestd.control.verbs import (
    config,
    failed,
    hello,
    logs,
    pause,
    remove,
    resume,
    retry,
    search,
    show,
    shutdown,
    start,
    status,
    stop,
    subscribe,
    summary,
    wait,
)
from ingestd.protocol import control as c

Send = Callable[[dict[str, Any]], Awaitable[None]]

HANDLERS: Final[dict[str, Callable[[VerbContext, Any], Awaitable[c.Reply]]]] = {
    "hello": hello.handle,
    "start": start.handle,
    "status": status.handle,
    "pause": pause.handle,
    "resume": resume.handle,
    "stop": stop.handle,
    "wait": wait.handle,
    "summary": summary.handle,
    "failed": failed.handle,
    "show": show.handle,
    "retry": retry.handle,
    "search": search.handle,
    "remove": remove.handle,
    "config": config.handle,
    "logs": logs.handle,
    "shutdown": shutdown.handle,
}
"""Verbs that answer once."""

STREAMS: Final[dict[str, Callable[[VerbContext, Any, Send], Awaitable[None]]]] = {"subscribe": subscribe.stream}
"""Verbs that answer again and again, until the client goes."""


def handlers(context: VerbContext) -> dict[str, Handler]:
    """``HANDLERS`` as the server calls them: with the parameters alone."""
    return {verb: partial(handle, context) for verb, handle in HANDLERS.items()}


def streams(context: VerbContext) -> dict[str, Streamer]:
    """``STREAMS`` as the server calls them: with the parameters, and what sends a message."""
    return {verb: partial(stream, context) for verb, stream in STREAMS.items()}
