"""Sinks that misbehave, as wrappers around any sink, and the daemon's end of the line for a follower in-process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ingestd.errors import Unavailable
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Delivered, FromSink, Hit, Hits, Search, ToSink, Trouble
from ingestd.protocol.work import Finish
from ingestd.sinks.base import Cursor, Sink
from ingestd.sinks.follow import Follower
from tests.sinks.feedkit import Feed
from tests.sinks.kinds import Kind

NEW = Cursor(0, "")


class Clock:
    """Monotonic seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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

    def __init__(self, inner: Sink, kind: Kind) -> None:
        super().__init__(inner)
        self._kind = kind

    def open(self, cursor: Cursor) -> Cursor:
        self._kind.save()
        return super().open(cursor)

    def close(self) -> None:
        super().close()
        self._kind.restore()


class LocalLine:
    """The daemon's end: hands out ``script`` in order; a follower that would wait for ever is told to finish.

    A wait with a limit passes on ``clock`` instead of in the world. ``sent`` holds what the follower said.
    """

    def __init__(self, clock: Clock, script: Sequence[ToSink] = (), finish_after: float = 1e9) -> None:
        self._clock = clock
        self._script = deque(script)
        self._finish_at = clock() + finish_after
        self.sent: list[FromSink] = []

    def send(self, message: FromSink) -> None:
        self.sent.append(message)

    def receive(self, timeout: float | None = None) -> ToSink | None:
        if self._script:
            return self._script.popleft()
        if timeout is None or self._clock() >= self._finish_at:
            return Finish()
        self._clock.now += timeout
        return None

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.sent if isinstance(message, kind)]

    @property
    def delivered(self) -> list[Delivered]:
        return self.of(Delivered)

    @property
    def troubles(self) -> list[Trouble]:
        return self.of(Trouble)

    @property
    def hits(self) -> list[Hits]:
        return self.of(Hits)

    @property
    def cursor(self) -> Cursor:
        """What the daemon has stored by now."""
        return Cursor(self.delivered[-1].seq, self.delivered[-1].token)


def follow(
    kind: Kind,
    feed: Feed,
    cursor: Cursor = NEW,
    *,
    sink: Sink | None = None,
    script: Sequence[ToSink] = (),
    clock: Clock | None = None,
    finish_after: float = 1e9,
) -> LocalLine:
    """One life of a sink child, in this process: from setup until nothing is left to deliver."""
    clock = clock or Clock()
    line = LocalLine(clock, script, finish_after)
    setup = feed.setup(kind.name, kind.place, *cursor)
    sink = sink or kind.make(setup)
    try:
        Follower(line, setup, sink, clock=clock, chance=lambda: 0.0).run()
    except RuntimeError:
        sink.close()  # what the kernel does for a process that died
    return line
