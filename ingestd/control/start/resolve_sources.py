"""The sources of a ``start`` request as folders and files of this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ingestd.control.verb_context import VerbContext
from ingestd.errors import EXIT_USAGE, IngestError
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import path_bytes, shown


class ResolvedSource(NamedTuple):
    """A folder by its canonical path, with the device and the name of its file system. ``only`` is the name of a file
    in it, where the source is one file."""

    path: bytes
    device: int
    fs: str
    only: bytes | None = None


async def resolve_sources(context: VerbContext, params: c.Start) -> list[ResolvedSource]:
    """The sources in the order of the request; for a list of files the one root ``/``.

    A child process looks at them, because a dead mount must not block the daemon. Raises ``IngestError`` for the first
    source that cannot be used.
    """
    if params.list_file:
        _check_list(context.supervisor.places.state / "spool", params.list_file)
        return [ResolvedSource(b"/", 0, "")]
    async with context.resolving:
        roots = await context.supervisor.sources.resolve([path_bytes(source) for source in params.sources])
    bad = next((root for root in roots if root.error), None)
    if bad is not None:
        raise IngestError(
            bad.error, operation="read", object=shown(bad.path)[0],
            remedy="Give a folder that exists and that the daemon's user may read", exit=EXIT_USAGE,
        )  # fmt: skip
    return [
        ResolvedSource(root.path, root.device, root.fs)
        if root.is_dir
        else ResolvedSource(os.path.dirname(root.path), root.device, root.fs, os.path.basename(root.path))
        for root in roots
    ]


def _check_list(spool: Path, name: str) -> None:
    """Raises ``IngestError`` for a file list that cannot be used.

    Only a list in the spool folder is looked at. Any other may lie on a dead mount: the walker finds out.
    """
    if not name.startswith("/") or "\0" in name:
        message = "it is no absolute path"
    elif os.path.dirname(name) == str(spool) and not os.access(name, os.R_OK):
        message = "it is not there, or the daemon's user may not read it"
    else:
        return
    raise IngestError(
        message, operation="read", object=f"the file list {shown(os.fsencode(name))[0]}",
        remedy="Give the list to ingestctl start - as the user whose daemon it is", exit=EXIT_USAGE,
    )  # fmt: skip
