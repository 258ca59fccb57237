"""What the walker tells: listings of at most 500 entries, under credit, one folder at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from ingestd.errors import ProtocolError
from ingestd.protocol.walk import Credit, Entry, Listing, ToWalker
from ingestd.protocol.work import Finish

MAX_ENTRIES: Final = 500
"""Entries, and gone ids, of one message: one transaction of the daemon, about 40 KiB."""

SIGN_OF_LIFE: Final = 5.0
"""Seconds without a listing after which an empty one is sent: a quiet rescan must be told apart from a dead mount."""


class Ended(Exception):
    """The daemon sent ``Finish``: the walk stops here, what was not sent yet is dropped."""


class Outbox:
    """Collects one folder's differences and sends them while there is credit.

    ``found`` counts the items told so far: entries added (the ones not sent yet included) and unchanged ones.
    ``Listing.unchanged`` is the number since the listing before, whichever folders they lie in, because a folder
    without differences sends none.
    """

    def __init__(
        self,
        send: Callable[[msgspec.Struct], None],
        receive: Callable[[float | None], ToWalker | None],
        credit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._receive = receive
        self._credit = credit
        self._clock = clock
        self._last = clock()
        self._root_id = 0
        self._rel = b""
        self._entries: list[Entry] = []
        self._gone: list[int] = []
        self._unchanged = 0
        self.found = 0

    def begin(self, root_id: int, rel: bytes) -> None:
        """What follows belongs to this folder."""
        self._root_id, self._rel = root_id, rel

    def add(self, entry: Entry) -> None:
        """A new, changed or returned file. May block for credit; may raise ``Ended``."""
        self.found += 1
        self._entries.append(entry)
        if len(self._entries) >= MAX_ENTRIES:
            self._flush()

    def add_gone(self, item: int) -> None:
        """A known item that is not there any more. May block for credit; may raise ``Ended``."""
        self._gone.append(item)
        if len(self._gone) >= MAX_ENTRIES:
            self._flush()

    def add_unchanged(self, n: int) -> None:
        """``n`` files that are as the ledger has them."""
        self.found += n
        self._unchanged += n

    def end(self) -> None:
        """The folder is over: send what is left of it."""
        if self._entries or self._gone:
            self._flush()

    def poll(self) -> None:
        """Take what the daemon has sent, and give a sign of life if it is time. Raises ``Ended`` on a ``Finish``."""
        self._take_all()
        if self._root_id and self._clock() - self._last >= SIGN_OF_LIFE:
            self._flush()

    def drop(self) -> None:
        """Forget what was added and not sent: it was not told, so it was not found."""
        self.found -= len(self._entries)
        self._entries, self._gone = [], []

    def _flush(self) -> None:
        self._take_all()
        while self._credit <= 0:
            message = self._receive(None)
            if message is not None:
                self._take(message)
        self._credit -= 1
        self._send(Listing(self._root_id, self._rel, self._entries, self._gone, self._unchanged))
        self._entries, self._gone, self._unchanged = [], [], 0
        self._last = self._clock()

    def _take_all(self) -> None:
        while (message := self._receive(0)) is not None:
            self._take(message)

    def _take(self, message: ToWalker) -> None:
        match message:
            case Credit(n=n):
                self._credit += n
            case Finish():
                raise Ended
            case _:
                raise ProtocolError(f"{type(message).__name__} in the middle of a walk")
