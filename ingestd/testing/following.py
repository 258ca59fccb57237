"""One life of a sink's process, in this process: the daemon's end of its line, and a clock that only waiting moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ingestd.protocol.sink import Delivered, FromSink, Hits, ToSink, Trouble
from ingestd.protocol.work import Finish
from ingestd.sinks.base import Cursor, Sink
from ingestd.sinks.follow import Follower
from ingestd.testing.feed import Feed
from ingestd.testing.sink_places import NEW, SinkPlace


class Clock:
    """Monotonic seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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
    target: SinkPlace,
    feed: Feed,
    cursor: Cursor = NEW,
    *,
    sink: Sink | None = None,
    script: Sequence[ToSink] = (),
    clock: Clock | None = None,
    finish_after: float = 1e9,
) -> LocalLine:
    """From setup until nothing is left to deliver, or ``finish_after`` seconds of the clock; then what it said.

    ``sink`` is another one than the place's own, such as one of ``bad_sinks``. ``script`` is what the daemon sends, in
    order.
    """
    clock = clock or Clock()
    line = LocalLine(clock, script, finish_after)
    setup = target.setup(feed, cursor)
    sink = sink or target.make(setup)
    try:
        Follower(line, setup, sink, clock=clock, chance=lambda: 0.0).run()
    except RuntimeError:
        sink.close()  # what the kernel does for a process that died
    return line
