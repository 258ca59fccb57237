"""``python -m ingestd.walker --fd N --parent PID``: resolves roots or walks them, as the first message says."""

from __future__ import annotations

import gc
import os
import sqlite3

from ingestd.child import run_child
from ingestd.child_channel import Channel
from ingestd.errors import ProtocolError, Unavailable
from ingestd.ledger.reader import open_reader
from ingestd.lockdown import Access
from ingestd.protocol.walk import Credit, ResolveRoots, RootsResolved, ToWalker, WalkerSetup
from ingestd.protocol.work import Finish
from ingestd.walker.outbox import Outbox
from ingestd.walker.roots import resolve
from ingestd.walker.walk import Walk


def access(message: ToWalker) -> Access | None:
    """A walker looks everywhere, changes nothing and speaks with nobody; only a file list is sorted beside itself."""
    match message:
        case Credit():
            return None
        case WalkerSetup(ledger=ledger, list_file=listed):
            beside = (os.fsencode(os.path.dirname(listed)),) if listed else ()
            # A reader of the ledger marks in the shared memory of its log how far it reads.
            return Access((b"/",), beside, change=(os.fsencode(f"{ledger}-shm"),))
        case _:
            return Access((b"/",))


def main(channel: Channel[ToWalker]) -> None:
    """Answer the first message, whole, and return. A ``Finish`` before any work is a clean end.

    Raises ``ProtocolError`` for another first message.
    """
    message = channel.receive()
    while isinstance(message, Credit):  # credit for listings of a walk that has not begun means nothing
        message = channel.receive()
    match message:
        case ResolveRoots():
            channel.send(RootsResolved([resolve(path) for path in message.paths]))
        case WalkerSetup():
            _walk(channel, message)
        case Finish():
            return
        case other:
            raise ProtocolError(f"a walker's first message was {type(other).__name__}")


def _walk(channel: Channel[ToWalker], setup: WalkerSetup) -> None:
    # Millions of short-lived tuples and no cycles: the collector would only look at them again and again.
    gc.disable()
    try:
        db = open_reader(setup.ledger)
        outbox = Outbox(channel.send, channel.receive, setup.credit)
        end = Walk(setup, db, outbox).run()
    except sqlite3.Error as error:
        raise Unavailable(
            str(error),
            operation="read",
            object=setup.ledger,
            remedy="The walk begins anew when the ledger can be read",
        ) from error
    channel.send(end)


if __name__ == "__main__":
    run_child("walker", ToWalker, main, access)
