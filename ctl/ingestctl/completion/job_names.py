"""The jobs that a verb could mean, asked when TAB is pressed: quick, and silent whatever is wrong."""

from __future__ import annotations

import socket

from ingestctl import rpc
from ingestctl.completion.known_values import STATUSES

PATIENCE_S = 1.0
"""Seconds that somebody waits for a TAB before it is thought broken."""


def names(verb: str) -> list[tuple[str, str]]:
    """Name and status of each job that ``verb`` takes, newest first; nothing without a daemon.

    Names that a shell would not pass on as they are, are left out: with a minus first, or unprintable characters.
    """
    # For connecting as well: a daemon that is stopped may have a full queue of callers.
    socket.setdefaulttimeout(PATIENCE_S)
    try:
        jobs = rpc.call("status", {}, timeout=PATIENCE_S)["jobs"]
    except rpc.CommandError:
        return []
    wanted = STATUSES.get(verb)
    found: dict[str, str] = {}
    for job in jobs:
        name, status = str(job["name"]), str(job["status"])
        if (wanted is None or status in wanted) and name.isprintable() and name and not name.startswith("-"):
            found.setdefault(name, status)
    return list(found.items())
