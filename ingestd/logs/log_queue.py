"""Between the event loop and a place that may stand still: a bounded queue and one thread that empties it.

``put`` never waits. When the queue is full, lines are dropped and counted, and the number stands in the log where they
are missing, once it flows again. While a queue that was full is emptied to its half, what comes goes on being dropped:
one gap with one number is worth more than a hundred small ones.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from typing import Final, Protocol

from ingestd.logs.lines import Line, make_line

MAX_LINES: Final = 5_000
MAX_BYTES: Final = 4 * 1024 * 1024
"""What may wait for one target: minutes of a busy daemon's log. A line that waits takes some three times its text, so
that this is at most some 15 MB of the daemon's memory."""

FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 2.0
"""Seconds between tries of a target that refuses a line (a full disk, no journal): doubled from the first to this."""


class TargetGone(Exception):
    """The target will never take a line again: its terminal was closed."""


class Target(Protocol):
    """A place that lines are written to, by one thread."""

    name: str

    def write(self, line: Line) -> None:
        """Write one line whole; may block. Raises ``OSError`` when it is to be tried again, or ``TargetGone``."""

    def reopen(self) -> None:
        """Begin anew with what now lies at its place. Raises ``OSError``; the next ``write`` then tries again."""

    def close(self) -> None:
        """Give back its descriptor."""


class LogQueue:
    """One target with its queue and thread. ``dropped`` counts the lines that it will never get."""

    def __init__(self, target: Target, max_lines: int, max_bytes: int) -> None:
        self._target = target
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._queue: deque[Line] = deque()
        self._bytes = 0
        self._missed = 0
        self._reopen = False
        self._ending = False
        self._gone = False
        self._changed = threading.Condition()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"log to the {target.name}", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Queue a line, or count it as dropped. Never blocks; any thread may call it."""
        with self._changed:
            if self._gone:
                return
            part = 2 if self._missed else 1
            if len(self._queue) * part >= self._max_lines or (self._bytes + len(line.text)) * part > self._max_bytes:
                self._missed += 1
                self.dropped += 1
                return
            if self._missed:
                self._append(self._gap())
            self._append(line)
            self._changed.notify()

    def reopen(self) -> None:
        """Have the target begin anew before its next line; never blocks."""
        with self._changed:
            self._reopen = True
            self._changed.notify()

    def close(self, until: float) -> bool:
        """Write what is queued, at most until ``time.monotonic()`` is ``until``; whether all of it was written."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive() and not self._queue

    def _append(self, line: Line) -> None:
        self._queue.append(line)
        self._bytes += len(line.text)

    def _gap(self) -> Line:
        count, self._missed = self._missed, 0
        return make_line("warning", {"event": "log lines dropped", "lines": count, "target": self._target.name})

    def _run(self) -> None:
        # A terminal with ``stty tostop`` would else stop the whole process for a line that this thread writes.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            while (line := self._next()) is not None:
                if not self._written(line):
                    break
                with self._changed:
                    self._queue.popleft()
                    self._bytes -= len(line.text)
            self._target.close()
        except TargetGone:
            with self._changed:
                self._gone = True
                self._queue.clear()
            self._target.close()

    def _next(self) -> Line | None:
        """Wait for a line and leave it in the queue; None at the end."""
        while True:
            with self._changed:
                while not (self._queue or self._missed or self._reopen or self._ending):
                    self._changed.wait()
                reopen, self._reopen = self._reopen, False
                if not self._queue and self._missed:
                    self._append(self._gap())
                line = self._queue[0] if self._queue else None
            if reopen:
                try:
                    self._target.reopen()
                except OSError:
                    pass  # the next line tries again, and waits where it must
            elif line is None:
                return None
            if line is not None:
                return line

    def _written(self, line: Line) -> bool:
        """Try until it is written; False when the end comes first."""
        pause = FIRST_RETRY_S
        while True:
            try:
                self._target.write(line)
                return True
            except TargetGone:
                raise
            except OSError:
                with self._changed:
                    if self._ending:
                        return False
                    self._changed.wait_for(lambda: self._ending, pause)
                pause = min(2 * pause, LAST_RETRY_S)
            except Exception:  # a line that cannot be shown: it must not silence those after it
                with self._changed:
                    self._missed += 1
                    self.dropped += 1
                return True
