"""What a sink may touch, by its kind's declaration: the ledger to read, its own place to write, its own server."""

from __future__ import annotations

import os
from importlib.util import find_spec

from ingestd.kinds import sink_addresses
from ingestd.kinds.sinks import OURS, SinkKind
from ingestd.lockdown import DNS, Access
from ingestd.lockdown.environment import proxy_ports
from ingestd.protocol.doctor import LookAtSinks, ToLooker
from ingestd.protocol.sink import SinkSetup, ToSink


def access(message: ToSink) -> Access | None:
    """What the work needs that this first message asks for: nothing at all for a kind that is not declared."""
    if not isinstance(message, SinkSetup) or message.declaration is None:
        return Access()
    kind = message.declaration
    # The folder and not the file: the log beside the ledger may be made anew while this process lives.
    read = [os.fsencode(os.path.dirname(message.ledger)), *_code(kind)]
    if kind.key_file and message.key_file:
        read.append(os.fsencode(message.key_file))
    shared = os.fsencode(f"{message.ledger}-shm")  # a reader marks in it how far it reads
    # What was moved aside lies beside the place, and so does its lock.
    write = _beside(message.place) if "place" in kind.writes else ()
    return Access(tuple(read), write, (shared,), _ports(kind, message.place), attributes=bool(write))


def access_of_checks(message: ToLooker) -> Access | None:
    """What the checks of the sinks need that a first message names: what these sinks may touch, together."""
    asked = [access(setup) for setup in message.setups] if isinstance(message, LookAtSinks) else []
    parts = [part for part in asked if part is not None]
    return Access(
        tuple(path for part in parts for path in part.read),
        tuple(path for part in parts for path in part.write),
        ports=tuple({port for part in parts for port in part.ports or ()}),
        attributes=any(part.attributes for part in parts),
    )


def _ports(kind: SinkKind, place: str) -> tuple[int, ...]:
    """Those that the kind names, the proxies' on the way, and name resolution."""
    if not kind.networked:
        return ()
    named = (sink_addresses.port_of(kind, place),) if kind.ports == "address" else tuple(kind.ports)
    return (*named, *proxy_ports(os.environ), DNS)


def _code(kind: SinkKind) -> list[bytes]:
    """Where the packages of another distribution lie: one that is being written is not among Python's own folders.

    Nothing of them is run to find them.
    """
    if kind.package == OURS:
        return []
    found = []
    for package in {module.partition(":")[0].partition(".")[0] for module in (kind.module, kind.doctor) if module}:
        spec = find_spec(package)
        if spec is not None:
            found += list(spec.submodule_search_locations or [spec.origin or ""])
    return [os.fsencode(os.path.realpath(path)) for path in found if os.path.exists(path)]


def _beside(place: str) -> tuple[bytes, ...]:
    """The folder that holds it, and the one that its link leads to. Neither is made here."""
    return tuple({os.fsencode(os.path.dirname(one)) for one in (place, os.path.realpath(place))})
