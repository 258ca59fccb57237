"""The sinks looker, a child of ``doctor``: can these places be reached and written? Nothing that is there is changed.

``python -m ingestd.sinks.doctor_main --fd N --parent PID``. Answers come as they are known: servers are asked last.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path
from typing import Any, Final
from urllib.request import getproxies

import msgspec

from ingestd.child import run_child
from ingestd.child_channel import Channel
from ingestd.errors import IngestError, Misconfigured, ProtocolError, Unavailable
from ingestd.protocol.addresses.qdrant_url import Server, collection_name, parse
from ingestd.protocol.doctor import LookAtSinks, Looked, ToLooker
from ingestd.protocol.sink import SinkSetup
from ingestd.protocol.work import Finish
from ingestd.sinks import local_files as places
from ingestd.sinks.base import dimensions

_KNOCK_S: Final = 5.0


def main(channel: Channel[Any]) -> None:
    """Answer one request."""
    match channel.receive():
        case LookAtSinks(setups, served):
            by_distance = sorted(enumerate(setups), key=lambda pair: pair[1].kind == "qdrant-server")
            for index, setup in by_distance:
                channel.send(looked(index, setup, served))
        case Finish():
            pass
        case other:
            raise ProtocolError(f"the sinks looker's first message was {type(other).__name__}")


def looked(index: int, setup: SinkSetup, served: bool) -> Looked:
    """How one sink is; ``served``: a daemon runs and may hold it."""
    try:
        match setup.kind:
            case "jsonl":
                return Looked(index, "ok", _jsonl(Path(setup.place)))
            case "qdrant":
                return _edge(index, setup, served)
            case "qdrant-server":
                return _server(index, setup)
    except IngestError as error:
        return Looked(index, "fail", f"cannot {error.operation} {error.object}: {error.message}", error.remedy)
    return Looked(
        index, "warn", f"a sink of the kind {setup.kind} is not known here", "Install the version that has it"
    )


def _jsonl(place: Path) -> str:
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
        _write_beside(place)
    length = f"{there.st_size / 1e6:,.1f} MB" if there else "not there yet"
    return f"{place}: can be written, {length}, {places.free_bytes(folder) / 1e9:,.1f} GB free"


def _write_beside(place: Path) -> None:
    """A file of its own in the same folder, synced: it shows a full or read-only disk without touching anything."""
    trial = place.with_name(f".{place.name}.doctor-{os.getpid()}")
    descriptor = os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"\0" * 4096)
        places.sync_file(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(trial)


def _edge(index: int, setup: SinkSetup, served: bool) -> Looked:
    from ingestd.sinks import qdrant_edge as edge

    place = Path(setup.place)
    with places.in_words("open", place):
        folder = place.parent
        while not folder.exists():
            folder = folder.parent
        free = places.free_bytes(folder)
        if free < edge.RESERVE:
            raise places.disk_full("write to", place, edge.RESERVE)
        if not place.exists():
            return Looked(index, "ok", f"{place}: is made at the first delivery")
        held = _held(place.with_name(f"{place.name}.lock"))
        if held and not served:
            raise places.taken(place)
        try:
            mark = msgspec.json.decode((place / edge.MARK).read_bytes(), type=edge.Mark)
        except (FileNotFoundError, msgspec.DecodeError):
            again = "it is moved aside and written again from the ledger"
            return Looked(index, "warn", f"{place}: the store cannot be read: {again}", "Nothing is to do")
    if mark.vectors != dimensions(setup.steps):
        other = "it is another recipe's: it is moved aside and written again from the ledger"
        return Looked(index, "warn", f"{place}: {other}", "Nothing is to do")
    how = "the daemon has it open" if held else "can be opened"
    return Looked(index, "ok", f"{place}: {how}, everything up to change {mark.seq} is in it")


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


def _knock(server: Server) -> None:
    """A connection, before the client's library is imported, which takes seconds. Through a proxy there is none."""
    if not server.loopback and getproxies():
        return
    try:
        socket.create_connection((server.host, server.port), _KNOCK_S).close()
    except OSError as error:
        why = f"no connection within {_KNOCK_S:.0f} seconds" if isinstance(error, TimeoutError) else ""
        raise Unavailable(
            why or (error.strerror or str(error)).lower(),
            operation="reach",
            object=f"the Qdrant server {server.shown}",
            remedy="Check that the server runs and can be reached; delivery goes on by itself",
        ) from None


def _server(index: int, setup: SinkSetup) -> Looked:
    from ingestd.sinks import qdrant_collection as collections
    from ingestd.sinks.qdrant_wire import Absent, Rejected, Wire, read_key

    server = parse(setup.place)
    vectors = dimensions(setup.steps)
    _knock(server)
    wire = Wire(server, collection_name(server, setup.store), read_key(setup.key_file, os.environ), first=False)
    try:
        info = collections.find(wire)
    except (Absent, Rejected) as error:
        raise Unavailable(
            str(error), operation="look at", object=wire.object, remedy="Change what the server objects to"
        ) from None
    finally:
        wire.close()
    if info is None:
        return Looked(index, "ok", f"{server.shown} answers; the collection is made at the first delivery")
    if vectors and (wrong := collections.differences(info, vectors)):
        remedy = "Name another collection with ?collection=NAME, or delete this one if nothing else needs it"
        return Looked(index, "fail", f"{wire.object} does not fit: {'; '.join(wrong)}", remedy)
    return Looked(index, "ok", f"{wire.object} answers, {info.points_count or 0:,} points")


if __name__ == "__main__":
    run_child("sinks looker", ToLooker, main)
