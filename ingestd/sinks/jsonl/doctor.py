"""The check of a file of JSON lines: its folder is there and can be written. The file itself is not touched."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ingestd.errors import Misconfigured
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks import local_files as places
from ingestd.sinks.base import Checked


def check(setup: SinkSetup, served: bool) -> Checked:
    """See ``sinks.base.Checked``."""
    place = Path(setup.place)
    folder = place.parent
    with places.in_words("write to", place):
        if not folder.is_dir():
            raise Misconfigured(
                "its folder does not exist", operation="write to", object=str(place),
                remedy=f"Make the folder {folder}, or choose another file for the jsonl sink",
            )  # fmt: skip
        there = os.stat(place) if place.exists() else None
        if there is not None and not stat.S_ISREG(there.st_mode):
            raise Misconfigured(
                "it is not a regular file", operation="write to", object=str(place),
                remedy="Choose another file for the jsonl sink",
            )  # fmt: skip
        if there is not None:
            os.close(os.open(place, os.O_WRONLY | os.O_CLOEXEC))
        places.try_beside(place)
    length = f"{there.st_size / 1e6:,.1f} MB" if there else "not there yet"
    return Checked("ok", f"{place}: can be written, {length}, {places.free_bytes(folder) / 1e9:,.1f} GB free")
