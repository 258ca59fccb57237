"""What a sink may touch, by its setup: the ledger to read, its own place to write, its own server to speak with."""

from __future__ import annotations

import os

from ingestd.lockdown import DNS, Access
from ingestd.lockdown.environment import proxy_ports
from ingestd.protocol.addresses import qdrant_url
from ingestd.protocol.sink import SinkSetup, ToSink


def access(message: ToSink) -> Access | None:
    """What the work needs that this first message asks for."""
    if not isinstance(message, SinkSetup):
        return Access()
    # The folder and not the file: the log beside the ledger may be made anew while this process lives.
    read = [os.fsencode(os.path.dirname(message.ledger))]
    shared = os.fsencode(f"{message.ledger}-shm")  # a reader marks in it how far it reads
    match message.kind:
        case "qdrant" | "jsonl":
            # What was moved aside lies beside the place, and so does its lock.
            return Access(tuple(read), _beside(message.place), (shared,), attributes=True)
        case "qdrant-server":
            if message.key_file:
                read.append(os.fsencode(message.key_file))
            ports = (qdrant_url.parse(message.place).port, *proxy_ports(os.environ), DNS)
            return Access(tuple(read), change=(shared,), ports=ports)
        case _:
            return Access(anywhere=True, ports=None)


def _beside(place: str) -> tuple[bytes, ...]:
    """The folder that holds it, and the one that its link leads to. Neither is made here."""
    return tuple({os.fsencode(os.path.dirname(one)) for one in (place, os.path.realpath(place))})
