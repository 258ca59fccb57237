"""The verb ``status``: the daemon, and one job or every job, as they are now."""

from __future__ import annotations

import os

import psutil

from ingestd import __version__
from ingestd.control.verb_context import VerbContext
from ingestd.host.log_note import where
from ingestd.protocol import control as c


async def handle(context: VerbContext, params: c.Status) -> c.StatusReply:
    """See ``protocol.control.Status``. Raises ``IngestError`` when no job has the name."""
    jobbook = context.jobbook
    known = await jobbook.facts() if params.job is None else [await jobbook.one(params.job, "show")]
    return c.StatusReply(_daemon(context), [jobbook.describe(facts) for facts in known])


def _daemon(context: VerbContext) -> c.DaemonStatus:
    s = context.supervisor
    files = [f"{s.places.ledger}{suffix}" for suffix in ("", "-wal")]
    return c.DaemonStatus(
        os.getpid(),
        __version__,
        context.started,
        str(s.places.state),
        where(s.places.log_file),
        sum(os.stat(file).st_size for file in files if os.path.exists(file)),
        psutil.Process().memory_info().rss,
        s.ledger.trouble,
        s.power.status(),
        s.log_dropped(),
    )
