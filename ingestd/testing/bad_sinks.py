"""Sinks that misbehave, named after how: wrappers around any sink.

Those that are slow, refuse, die or forget do what the world does to a good sink: a follower has to live with them.
Those that skip or trust break the contract: the suite has to find them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ingestd.errors import Unavailable
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Hit, Search
from ingestd.sinks.base import Cursor, Sink
from ingestd.testing.following import Clock
from ingestd.testing.sink_places import SinkPlace


class Wrapped(Sink):
    """Does what ``inner`` does; the base of the faults."""

    def __init__(self, inner: Sink) -> None:
        self.inner = inner
        self.max_paths = inner.max_paths  # type: ignore[misc]

    @property
    def opened(self) -> bool:  # type: ignore[override]
        return self.inner.opened

    def open(self, cursor: Cursor) -> Cursor:
        return self.inner.open(cursor)

    def deliver(self, page: Sequence[Record]) -> str:
        return self.inner.deliver(page)

    def close(self) -> None:
        self.inner.close()

    def search(self, ask: Search) -> list[Hit]:
        return self.inner.search(ask)

    def caught_up(self) -> None:
        self.inner.caught_up()


class SlowSink(Wrapped):
    """Needs ``seconds`` for a page."""

    def __init__(self, inner: Sink, clock: Clock, seconds: float) -> None:
        super().__init__(inner)
        self._clock = clock
        self._seconds = seconds

    def deliver(self, page: Sequence[Record]) -> str:
        self._clock.now += self._seconds
        return super().deliver(page)


class SinkThatRefuses(Wrapped):
    """Is away for the first ``times`` calls of ``deliver``."""

    def __init__(self, inner: Sink, times: int) -> None:
        super().__init__(inner)
        self.times = times

    def deliver(self, page: Sequence[Record]) -> str:
        if self.times > 0:
            self.times -= 1
            raise Unavailable("connection refused", operation="write to", object="the sink", remedy="Start it")
        return super().deliver(page)


class SinkThatDiesHalfWay(Wrapped):
    """Has written half of page number ``page`` (from 0) when it dies."""

    def __init__(self, inner: Sink, page: int) -> None:
        super().__init__(inner)
        self._left = page

    def deliver(self, page: Sequence[Record]) -> str:
        if self._left == 0:
            super().deliver(page[: len(page) // 2])
            raise RuntimeError("died half way")
        self._left -= 1
        return super().deliver(page)


class SinkThatForgets(Wrapped):
    """Loses at its end all that was written since it was opened, whatever it had reported."""

    def __init__(self, inner: Sink, target: SinkPlace) -> None:
        super().__init__(inner)
        self._target = target

    def open(self, cursor: Cursor) -> Cursor:
        self._target.save()
        return super().open(cursor)

    def close(self) -> None:
        super().close()
        self._target.restore()


class SinkThatSkipsDeletions(Wrapped):
    """Leaves there what is gone from the sources."""

    def deliver(self, page: Sequence[Record]) -> str:
        kept = [record for record in page if not record.deleted]
        return super().deliver(kept or page)


class SinkThatTrustsTheCursor(Wrapped):
    """Goes on from the stored cursor, whatever is in the place."""

    def open(self, cursor: Cursor) -> Cursor:
        there = super().open(cursor)
        return Cursor(cursor.seq, there.token)


class SinkThatReportsTooEarly(Wrapped):
    """Says that a page is there of which it has written half."""

    def deliver(self, page: Sequence[Record]) -> str:
        return super().deliver(page[: max(1, len(page) // 2)])
