"""The URLs of sinks, by their kinds: what is wrong with one, which port it means, how it is shown to people.

A kind without a form of its own (``SinkKind.address``) is read as ``server_url`` with the kind's ``schemes``.
"""

from __future__ import annotations

from ingestd.kinds.sinks import SinkKind
from ingestd.protocol.addresses import qdrant_url, server_url


def check(kind: SinkKind, url: str) -> None:
    """Raises ``Misconfigured`` (exit code 2) for a URL that is not of the kind's form."""
    port_of(kind, url)


def port_of(kind: SinkKind, url: str) -> int:
    """The TCP port. Raises ``Misconfigured``."""
    if kind.address == "qdrant_url":
        return qdrant_url.parse(url).port
    return server_url.parse(url, kind.schemes).port


def shown(kind: SinkKind, url: str, store: str) -> str:
    """For people: the server, and what is used there by a job whose store is named ``store``. Raises
    ``Misconfigured``."""
    if kind.address == "qdrant_url":
        server = qdrant_url.parse(url)
        return f"{server.shown} collection {qdrant_url.collection_name(server, store)}"
    return server_url.parse(url, kind.schemes).shown
