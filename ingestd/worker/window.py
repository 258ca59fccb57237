"""The items under way in a worker, and who may take which next. Bookkeeping under one lock; no I/O, no models.

An item's way:

    queued ─take─▶ reading ─hashed─▶ asked ─go─▶ fetched ─take─▶ decoding ─decoded─▶ ready ─next_group─▶ in the model
                                      │ hold
                                      ▼
                                     held ─go─▶ queued (again, without asking)      any ─drop or forget─▶ (gone)

The main thread waits in ``next_group``, reader threads in ``take``; whoever talks to the daemon calls ``add``,
``verdict``, ``finish`` and ``drain``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from ingestd.protocol.work import Failure, Stat, StepResult, Verdict, Work

HELD_BYTES: Final = 256 * 1024 * 1024
"""File bytes kept in memory between reading and decoding: a window of 32 photos of 8 MB. One larger file is let in
when nothing else is held."""

LINGER_S: Final = 0.25
"""A batch that is not full runs when no image has become ready for so long: a slow disk or a slow answer must not
make finished work wait, and a fast one fills the batch well within it."""

State = Literal["queued", "reading", "asked", "held", "fetched", "decoding", "ready"]

# What may still become ready by itself: ``held`` waits for another worker's commit, maybe for long.
_COMING: Final = frozenset(("queued", "reading", "asked", "fetched", "decoding"))


@dataclass(eq=False)
class Entry:
    """One item under way. ``steps`` is what to run: what was asked for first, then what the verdict says.

    ``bodies`` are results that steps read, by step name: of earlier runs, and of this one as they are made.
    ``prepared`` is what runners work on next, by their index. ``waiting`` are the runners that wait for results of this
    run, ``view`` what the medium gave for them; ``open`` is the mask of steps that have no answer yet.
    """

    work: Work
    steps: int
    state: State = "queued"
    held: int = 0
    data: bytes | None = None
    sha256: bytes | None = None
    stat: Stat | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    bodies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    view: Any = None
    waiting: set[int] = field(default_factory=set)
    open: int = 0
    prepared: dict[int, Any] = field(default_factory=dict)
    results: list[StepResult] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    ms: dict[str, float] = field(default_factory=dict)

    def took(self, phase: str, seconds: float) -> None:
        """Add to the time of a phase."""
        self.ms[phase] = self.ms.get(phase, 0.0) + seconds * 1e3


class Window:
    """See the module. ``group`` is how many images the models want at once. Methods may be called by any thread."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._lock = threading.Lock()
        self._for_readers = threading.Condition(self._lock)
        self._for_main = threading.Condition(self._lock)
        self._items: dict[int, Entry] = {}
        self._to_read: deque[Entry] = deque()
        self._to_decode: deque[Entry] = deque()
        self._ready: deque[Entry] = deque()
        self._last_ready = 0.0
        self._held_bytes = 0
        self._finishing = False
        self._draining = False
        self._error: BaseException | None = None

    # ------------------------------------------------------------------------------------------ from the daemon

    def add(self, work: Work) -> None:
        """An item was given."""
        with self._lock:
            entry = Entry(work, work.todo)
            self._items[work.item] = entry
            self._to_read.append(entry)
            self._for_readers.notify()

    def verdict(self, verdict: Verdict) -> None:
        """The daemon has decided on an item that was hashed. One for an item that is not waiting means nothing."""
        with self._lock:
            entry = self._items.get(verdict.item)
            if entry is None or entry.state not in ("asked", "held"):
                return
            if verdict.action == "go":
                entry.steps = verdict.steps
                entry.bodies = {name: msgspec.json.decode(body) for name, body in verdict.bodies.items()}
                entry.state, queue = ("queued", self._to_read) if entry.data is None else ("fetched", self._to_decode)
                queue.append(entry)
                self._for_readers.notify()
            elif verdict.action == "hold":
                entry.state = "held"
                self._release(entry)
            else:
                self._release(entry)
                del self._items[verdict.item]
            self._for_main.notify()

    def finish(self) -> None:
        """No more work will come: ``next_group`` returns None once everything given is done."""
        with self._lock:
            self._finishing = True
            self._for_main.notify()

    def drain(self) -> None:
        """Stop now: nothing more is taken by anybody."""
        with self._lock:
            self._draining = True
            self._for_main.notify()
            self._for_readers.notify_all()

    @property
    def draining(self) -> bool:
        return self._draining

    def fail(self, error: BaseException) -> None:
        """A thread met a defect: the main thread raises it."""
        with self._lock:
            self._error = error
            self._for_main.notify()

    # --------------------------------------------------------------------------------------- for the reader threads

    def take(self) -> Entry | None:
        """The next item to read (state ``reading``) or to decode (``decoding``); None when draining. Blocks."""
        with self._lock:
            while not self._draining:
                # Decoding goes first: it frees the file's bytes and feeds the model.
                if self._to_decode and len(self._ready) < 2 * self._group:
                    entry = self._to_decode.popleft()
                    entry.state = "decoding"
                    return entry
                if self._to_read and self._has_room(self._to_read[0].work.stat.size):
                    entry = self._to_read.popleft()
                    entry.state = "reading"
                    entry.held = entry.work.stat.size
                    self._held_bytes += entry.held
                    return entry
                self._for_readers.wait()
            return None

    def hashed(self, entry: Entry, data: bytes, sha256: bytes, stat: Stat) -> bool:
        """A file was read. True: the daemon is to be asked. False: it has answered long ago, decode it."""
        with self._lock:
            asked_before = entry.sha256 is not None
            self._held_bytes += len(data) - entry.held
            entry.held = len(data)
            entry.data, entry.sha256, entry.stat = data, sha256, stat
            if asked_before:
                entry.state = "fetched"
                self._to_decode.append(entry)
                self._for_readers.notify()
            else:
                entry.state = "asked"
            return not asked_before

    def decoded(self, entry: Entry) -> None:
        """The item's images are prepared for the models."""
        with self._lock:
            self._release(entry)
            entry.state = "ready"
            self._ready.append(entry)
            self._last_ready = time.monotonic()
            self._for_main.notify()

    def forget(self, entry: Entry) -> None:
        """Everything of this item is said."""
        with self._lock:
            self._release(entry)
            # The daemon may have given the same item again, for another pass, before we came here.
            if self._items.get(entry.work.item) is entry:
                del self._items[entry.work.item]
            self._for_main.notify()

    # ----------------------------------------------------------------------------------------- for the main thread

    def next_group(self) -> list[Entry] | None:
        """Images for the models: ``group`` of them, fewer when no more come soon; None when all is over. Blocks.

        Raises what another thread gave to ``fail``.
        """
        with self._lock:
            while True:
                if self._error is not None:
                    raise self._error
                if self._draining or (self._finishing and not self._items):
                    return None
                if len(self._ready) >= self._group:
                    break
                wait = None
                if self._ready:
                    wait = self._last_ready + LINGER_S - time.monotonic()
                    if wait <= 0 or not self._coming():
                        break
                self._for_main.wait(wait)
            group = [self._ready.popleft() for _ in range(min(self._group, len(self._ready)))]
            self._for_readers.notify_all()
            return group

    # --------------------------------------------------------------------------------------------------------------

    def _coming(self) -> bool:
        return any(entry.state in _COMING for entry in self._items.values())

    def _has_room(self, size: int) -> bool:
        return self._held_bytes == 0 or self._held_bytes + size <= HELD_BYTES

    def _release(self, entry: Entry) -> None:
        self._held_bytes -= entry.held
        entry.held = 0
        entry.data = None
        self._for_readers.notify()
