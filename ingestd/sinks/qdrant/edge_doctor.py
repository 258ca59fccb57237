"""The check of an embedded store, without opening it: room on its disk, who holds it, whose it is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from ingestd.protocol.sink import SinkSetup
from ingestd.sinks import local_files as places
from ingestd.sinks.base import Checked, dimensions
from ingestd.sinks.qdrant.edge_sink import MARK, RESERVE, Mark


def check(setup: SinkSetup, served: bool) -> Checked:
    """See ``sinks.base.Checked``. ``served``: a store that is held is held by the daemon, most likely."""
    place = Path(setup.place)
    with places.in_words("open", place):
        folder = place.parent
        while not folder.exists():
            folder = folder.parent
        free = places.free_bytes(folder)
        if free < RESERVE:
            raise places.disk_full("write to", place, RESERVE)
        if not place.exists():
            return Checked("ok", f"{place}: is made at the first delivery")
        held = _held(place.with_name(f"{place.name}.lock"))
        if held and not served:
            raise places.taken(place)
        try:
            mark = msgspec.json.decode((place / MARK).read_bytes(), type=Mark)
        except (FileNotFoundError, msgspec.DecodeError):
            again = "it is moved aside and written again from the ledger"
            return Checked("warn", f"{place}: the store cannot be read: {again}", "Nothing is to do")
    if mark.vectors != dimensions(setup.steps):
        other = "it is another recipe's: it is moved aside and written again from the ledger"
        return Checked("warn", f"{place}: {other}", "Nothing is to do")
    how = "the daemon has it open" if held else "can be opened"
    return Checked("ok", f"{place}: {how}, everything up to change {mark.seq} is in it")


def _held(lock: Path) -> bool:
    """Whether a process holds the store, looked at by a lock that others may share for that moment."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
