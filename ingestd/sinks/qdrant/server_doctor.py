"""The check of a Qdrant server: it answers, takes the key, and its collection fits. Nothing there is changed."""

from __future__ import annotations

import os
import socket
from typing import Final
from urllib.request import getproxies

from ingestd.errors import Unavailable
from ingestd.protocol.addresses.qdrant_url import Server, collection_name, parse
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks.base import Checked, dimensions

_CONNECT_S: Final = 5.0


def check(setup: SinkSetup, served: bool) -> Checked:
    """See ``sinks.base.Checked``."""
    server = parse(setup.place)
    vectors = dimensions(setup.steps)
    _connect(server)
    # The client's library takes seconds to import: a server that is away is told before that.
    from ingestd.sinks.qdrant import collection as collections
    from ingestd.sinks.qdrant.server_connection import Absent, Rejected, ServerConnection, read_key

    key = read_key(setup.key_file, os.environ)
    connection = ServerConnection(server, collection_name(server, setup.store), key, first=False)
    try:
        info = collections.find(connection)
    except (Absent, Rejected) as error:
        raise Unavailable(
            str(error), operation="look at", object=connection.object, remedy="Change what the server objects to"
        ) from None
    finally:
        connection.close()
    if info is None:
        return Checked("ok", f"{server.shown} answers; the collection is made at the first delivery")
    if vectors and (wrong := collections.differences(info, vectors)):
        remedy = "Name another collection with ?collection=NAME, or delete this one if nothing else needs it"
        return Checked("fail", f"{connection.object} does not fit: {'; '.join(wrong)}", remedy)
    return Checked("ok", f"{connection.object} answers, {info.points_count or 0:,} points")


def _connect(server: Server) -> None:
    """One connection, to see that somebody listens. Through a proxy there is none."""
    if not server.loopback and getproxies():
        return
    try:
        socket.create_connection((server.host, server.port), _CONNECT_S).close()
    except OSError as error:
        why = f"no connection within {_CONNECT_S:.0f} seconds" if isinstance(error, TimeoutError) else ""
        raise Unavailable(
            why or (error.strerror or str(error)).lower(),
            operation="reach",
            object=f"the Qdrant server {server.shown}",
            remedy="Check that the server runs and can be reached; delivery goes on by itself",
        ) from None
