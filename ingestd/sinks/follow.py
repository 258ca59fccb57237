"""The loop that every sink shares: read the feed after the cursor, deliver, report; listen in between.

One thread does all of it, so a search is answered between two pages (some tens of milliseconds) or at once while the
sink waits. Trouble is waited out here: a sink only says ``Unavailable``.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import Final, Protocol

from ingestd.errors import ProtocolError, Unavailable
from ingestd.ledger.reader import PAGE, Record, feed_page, open_reader
from ingestd.protocol.sink import Delivered, FromSink, Grown, Hit, Hits, Search, SinkSetup, ToSink, Trouble
from ingestd.protocol.work import Finish
from ingestd.sinks.base import AskedToWait, Cursor, Sink

FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
LONGEST_PAUSE_S: Final = 600.0
"""A place that asks for hours is asked again after ten minutes: clocks and proxies err."""

JITTER: Final = 0.2
"""A wait is shortened by up to this share, so that many sinks of one server do not knock at the same moment."""

FINISH_S: Final = 5.0
"""Seconds that delivery may go on after ``Finish``; the cursor keeps what is left for the next start."""

MAX_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of the hits in one ``Hits``, half a frame: payloads of long path lists could otherwise pass its limit."""


class Line(Protocol):
    """The child's end of the protocol (``child_channel.Channel``)."""

    def send(self, message: FromSink, /) -> None: ...

    def receive(self, timeout: float | None = None) -> ToSink | None: ...


def retry_after(attempt: int, chance: float) -> float:
    """Seconds to wait after failure number ``attempt`` (from 1): 1 doubling to 60, less ``chance`` × 20 %."""
    longest = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt - 1, 30))
    return longest * (1 - JITTER * chance)


class Follower:
    """Follows one job's feed into one sink until ``Finish``. ``clock`` is monotonic seconds, ``chance`` in [0, 1)."""

    def __init__(
        self,
        line: Line,
        setup: SinkSetup,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._line = line
        self._setup = setup
        self._sink = sink
        self._clock = clock
        self._chance = chance
        self._ledger: sqlite3.Connection | None = None
        self._cursor = Cursor(setup.seq, setup.token)
        self._end = setup.feed_seq
        self._failures = 0
        self._why = "it is being opened"
        self._finish_by: float | None = None

    def run(self) -> None:
        """Deliver and listen. Returns after ``Finish``; raises what the sink raises, except ``Unavailable``."""
        while self._finish_by is None or self._clock() < self._finish_by:
            try:
                more = self._advance()
            except Unavailable as error:
                if self._finish_by is not None:
                    break
                self._rest(error)
                continue
            self._recovered()
            if self._finish_by is not None and not more:
                break
            self._listen(0 if more or self._finish_by is not None else None)
        self._leave()

    def _leave(self) -> None:
        """Let go of the place. It may be for good, in the middle of a bulk load: nobody else undoes what that set."""
        try:
            if self._sink.opened:
                self._sink.caught_up()
        except Unavailable:
            pass  # whoever opens the place next finds it as it is
        self._sink.close()

    def _advance(self) -> bool:
        """Open the sink if it is not, deliver one page; whether there may be more to do at once."""
        if not self._sink.opened:
            self._cursor = self._sink.open(self._cursor)
            self._report()
        if self._cursor.seq < self._end and (page := self._read()):
            self._cursor = Cursor(page[-1].seq, self._sink.deliver(page))
            self._report()
            if len(page) == PAGE:
                return True
        self._sink.caught_up()
        return False

    def _read(self) -> list[Record]:
        try:
            if self._ledger is None:
                self._ledger = open_reader(self._setup.ledger)
            return feed_page(self._ledger, self._setup.job_id, self._cursor.seq, PAGE, self._sink.max_paths)
        except sqlite3.Error as error:
            if self._ledger is not None:
                self._ledger.close()
                self._ledger = None
            raise Unavailable(
                str(error),
                operation="read",
                object=self._setup.ledger,
                remedy="Delivery goes on by itself when the ledger can be read",
            ) from error

    def _report(self) -> None:
        self._line.send(Delivered(self._cursor.seq, self._cursor.token))

    def _rest(self, error: Unavailable) -> None:
        """Say what is wrong, then wait, answering searches; ``Finish`` ends the wait.

        ``Grown`` shortens it, but never below ``FIRST_RETRY_S``: while a job runs the feed grows several times a
        second, and a place that is away must not be asked that often. A place that asked for a pause gets it whole.
        """
        self._failures += 1
        asked = min(error.seconds, LONGEST_PAUSE_S) if isinstance(error, AskedToWait) else 0.0
        wait = max(retry_after(self._failures, self._chance()), asked)
        self._why = f"cannot {error.operation} {error.object}: {error.message}"
        self._line.send(Trouble(self._why, error.remedy, wait))
        began = self._clock()
        until = began + wait
        while self._finish_by is None and (left := until - self._clock()) > 0:
            message = self._line.receive(left)
            self._handle(message)
            if isinstance(message, Grown):
                until = min(until, began + max(FIRST_RETRY_S, asked))

    def _recovered(self) -> None:
        if self._failures:
            self._failures = 0
            self._line.send(Trouble("", "", 0))

    def _listen(self, timeout: float | None) -> None:
        """Handle every message that is there; wait up to ``timeout`` seconds for the first (None: for ever)."""
        message = self._line.receive(timeout)
        while message is not None:
            self._handle(message)
            message = self._line.receive(0)

    def _handle(self, message: ToSink | None) -> None:
        match message:
            case None:
                pass
            case Grown(seq=seq):
                self._end = max(self._end, seq)
            case Search():
                self._line.send(self._answer(message))
            case Finish():
                self._finish_by = self._clock() + FINISH_S
            case _:
                raise ProtocolError(f"a sink that follows was sent {type(message).__name__}")

    def _answer(self, ask: Search) -> Hits:
        if not self._sink.opened:
            return Hits(ask.id, [], f"the sink is not open: {self._why}")
        try:
            return Hits(ask.id, _fitting(self._sink.search(ask)))
        except ValueError as error:
            return Hits(ask.id, [], str(error))


def _fitting(hits: list[Hit]) -> list[Hit]:
    room = MAX_ANSWER
    for count, hit in enumerate(hits):
        room -= len(hit.payload)
        if room < 0:
            return hits[:count]
    return hits
