"""The worker's threads: one listens to the daemon, a few read and decode ahead, the main thread runs the models.

Reading, asking the daemon about a hash, decoding and the forward pass overlap across the items of the window. Every
item that the daemon does not drop ends in exactly one ``Outcome``, sent as soon as its last step is done.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from ingestd import lockdown
from ingestd.child_channel import Channel
from ingestd.errors import FailureKind, IngestError, ItemError, ProtocolError
from ingestd.protocol.work import (
    Began,
    Drain,
    Encode,
    Encoded,
    Failure,
    Finish,
    Hashed,
    Outcome,
    Refused,
    Step,
    Verdict,
    Work,
)
from ingestd.worker.media.choice import load_media, open_content
from ingestd.worker.media.picture import MAX_PIXELS
from ingestd.worker.read import read_file
from ingestd.worker.steps import meta
from ingestd.worker.steps.base import Answer, Runner, flagged, out_of_memory
from ingestd.worker.steps.registry import media_of
from ingestd.worker.usage import cores, usage
from ingestd.worker.window import Entry, Window

USAGE_EVERY: Final = 25
"""Outcomes between two reports of memory and CPU."""

HELD_PIXELS: Final = MAX_PIXELS
"""Pixels being decoded at once by all threads: one picture at the limit, or any number of ordinary ones."""


_DENIED: Final = ("EACCES", "EPERM")


class Pipeline:
    """Works through what the daemon sends until ``Finish`` or ``Drain``. ``run`` belongs to the main thread."""

    def __init__(self, channel: Channel[Any], steps: Sequence[Step], runners: Sequence[Runner]) -> None:
        self._channel = channel
        self._runners = list(runners)
        self._media = load_media(media_of(steps))
        self._media_taken = [
            {medium for step in steps if runner.mask >> step.bit & 1 for medium in step.media}
            for runner in self._runners
        ]
        self._names = {step.bit: step.name for step in steps}
        self._bits = {step.name: step.bit for step in steps}
        self._meta_bit = next((step.bit for step in steps if step.kind == meta.NAME), None)
        self._read_by_others = {name for runner in self._runners for name in runner.needs}
        self._window = Window(max((runner.batch for runner in runners), default=1))
        self._pixels = _Budget(HELD_PIXELS)
        self._sending = threading.Lock()
        self._closed = False
        self._sent = 0

    def run(self) -> None:
        """Start the threads and run the models; returns when nothing is left to do or the daemon said ``Drain``."""
        readers = min(4, max(2, cores() // 2))
        for target, name in [(self._listen, "listen")] + [(self._read_ahead, f"reader-{n}") for n in range(readers)]:
            threading.Thread(target=self._guarded, args=(target,), name=name, daemon=True).start()
        while (group := self._window.next_group()) is not None:
            self._run_models(group)
        with self._sending:
            self._closed = True

    def _guarded(self, target: Any) -> None:
        try:
            target()
        except BaseException as error:
            self._window.fail(error)

    # ------------------------------------------------------------------------------------------- the listening thread

    def _listen(self) -> None:
        while True:
            match self._channel.receive():
                case Work() as work:
                    self._window.add(work)
                case Verdict() as verdict:
                    self._window.verdict(verdict)
                case Drain():
                    self._window.drain()
                    for runner in self._runners:
                        runner.drain()
                    return
                case Finish():
                    self._window.finish()
                case Encode(id=id):
                    self._channel.send(Encoded(id, None, "this worker does not encode queries"))
                case other:
                    raise ProtocolError(f"a worker at work was sent {type(other).__name__}")

    # --------------------------------------------------------------------------------------------- the reader threads

    def _read_ahead(self) -> None:
        while (entry := self._window.take()) is not None:
            if entry.state == "reading":
                self._read(entry)
            else:
                self._decode(entry)

    def _read(self, entry: Entry) -> None:
        work = entry.work
        asked = entry.sha256
        if asked is None:
            self._channel.send(Began(work.item))
        began = time.perf_counter()
        try:
            whole = read_file(work.path)
            if asked is not None and whole.sha256 != asked:
                raise ItemError("changed", "it changed while it waited for its copy", stage="read")
        except (ItemError, MemoryError) as error:
            if isinstance(error, ItemError) and error.detail in _DENIED and lockdown.refuses(work.path):
                self._channel.send(Refused(work.item))  # and it is held until ``Drain``: no failure of the file's
                return
            entry.sha256 = entry.stat = None
            self._fail(entry, entry.steps, error, stage="read", content=False)
            self._end(entry)
            return
        entry.took("read", time.perf_counter() - began)
        if self._window.hashed(entry, whole.data, whole.sha256, whole.stat):
            self._channel.send(Hashed(work.item, whole.sha256, whole.stat))

    def _decode(self, entry: Entry) -> None:
        assert entry.data is not None
        began = time.perf_counter()
        asked = {index: runner for index, runner in enumerate(self._runners) if runner.mask & entry.steps}
        wants = [runner.want for runner in asked.values() if runner.want is not None]
        want = None if not wants else 0 if 0 in wants else max(wants)
        try:
            medium, content = open_content(self._media, entry.data, entry.work.path)
            entry.format = content.format
            with self._pixels.held(content.cost(want)):
                content.load(want)
                entry.width, entry.height = content.width, content.height
                view = None if want is None else content.view(want)
                entry.took("decode", time.perf_counter() - began)
                if self._meta_bit is not None and entry.steps >> self._meta_bit & 1:
                    began = time.perf_counter()
                    entry.results.append(meta.run(self._meta_bit, content))
                    entry.took(meta.NAME, time.perf_counter() - began)
                for index, runner in asked.items():
                    if medium in self._media_taken[index]:
                        entry.waiting.add(index)
                        entry.open |= runner.mask & entry.steps
                    else:
                        error = ItemError("unsupported", f"this step takes no {medium}", stage="decode")
                        self._fail(entry, runner.mask & entry.steps, error, stage="model", content=True)
                entry.view = view
                self._prepare_ready(entry)
        except (ItemError, MemoryError) as error:
            entry.results.clear()
            entry.failures.clear()
            self._fail(entry, entry.steps, error, stage="decode", content=True)
            entry.prepared.clear()
        if entry.prepared:
            self._window.decoded(entry)
        else:
            self._end(entry)

    def _prepare_ready(self, entry: Entry) -> None:
        """Prepare the item for each runner that waits for no result of this run any more."""
        while ready := [index for index in entry.waiting if not self._needed(index) & entry.open]:
            for index in sorted(ready):
                entry.waiting.discard(index)
                self._prepare(entry, index)
        if all(self._runners[index].want is None for index in entry.waiting):
            entry.view = None

    def _needed(self, index: int) -> int:
        """The mask of the steps of this run that a runner reads."""
        return sum(1 << self._bits[name] for name in self._runners[index].needs if name in self._bits)

    def _prepare(self, entry: Entry, index: int) -> None:
        runner = self._runners[index]
        began = time.perf_counter()
        bodies = {name: entry.bodies[name] for name in runner.needs if name in entry.bodies}
        try:
            entry.prepared[index] = runner.prepare(None if runner.want is None else entry.view, bodies)
        except (MemoryError, IngestError):
            raise
        except Exception as error:  # whatever a step's preparation raises is this item's failure
            self._fail(entry, entry.steps & runner.mask, error, stage="model", content=True)
            entry.open &= ~runner.mask
        entry.took("decode", time.perf_counter() - began)

    # ------------------------------------------------------------------------------------------------ the main thread

    def _run_models(self, group: list[Entry]) -> None:
        for index, runner in enumerate(self._runners):
            waiting = [entry for entry in group if index in entry.prepared]
            # A description that is there already is embedded before a pause: that takes no time, the description did.
            while waiting and not (self._window.draining and not runner.needs):
                batch, waiting = waiting[: runner.batch], waiting[runner.batch :]
                self._run_batch(index, runner, batch)

    def _run_batch(self, index: int, runner: Runner, batch: list[Entry]) -> None:
        """Run one batch; what fails in it is found by running what has no answer in parts."""
        began = time.perf_counter()
        asked = [entry.steps & runner.mask for entry in batch]
        left = dict(enumerate(batch))
        error: Exception | None = None
        try:
            answers = runner.run([entry.prepared[index] for entry in batch], asked)
            share = (time.perf_counter() - began) / len(batch)
            began = time.perf_counter()
            for at, answer in answers:
                entry, now = left.pop(at), time.perf_counter()
                self._take_answer(entry, index, asked[at], answer, share + now - began)
                began = now
        except IngestError:
            raise
        except Exception as caught:  # anything a model raises: decided below, outside, where its tensors are freed
            error = caught.with_traceback(None) if len(left) > 1 else caught
        if error is not None:
            self._run_apart(index, runner, list(left.values()), error)

    def _run_apart(self, index: int, runner: Runner, batch: list[Entry], error: Exception) -> None:
        """After an error: smaller batches when memory ran out, else one by one; alone, it is the image's own."""
        if len(batch) == 1:
            entry = batch[0]
            self._fail(entry, entry.steps & runner.mask, error, stage="model", content=True)
            self._answered(entry, index)
        elif out_of_memory(error):
            runner.batch = max(1, len(batch) // 2)
            print(f"out of memory with {len(batch)} images at once: going on with {runner.batch}", file=sys.stderr)
            _free_memory()
            size = runner.batch  # a part may halve it again
            for at in range(0, len(batch), size):
                self._run_batch(index, runner, batch[at : at + size])
        else:
            print(f"a batch of {len(batch)} images failed, trying them one by one: {error}", file=sys.stderr)
            for entry in batch:
                self._run_batch(index, runner, [entry])

    def _take_answer(self, entry: Entry, index: int, asked: int, answer: Answer, seconds: float) -> None:
        entry.took("model", seconds)
        for bit, result in answer.items():
            name = self._names[bit]
            entry.took(name, seconds / asked.bit_count())
            if isinstance(result, ItemError):
                self._fail(entry, 1 << bit, result, stage="model", content=True)
            else:
                entry.results.append(flagged(result))
                if name in self._read_by_others:
                    entry.bodies[name] = msgspec.json.decode(result.body)
        self._answered(entry, index)

    def _answered(self, entry: Entry, index: int) -> None:
        """A runner is done with an item: those that read what it made come next, else the item ends."""
        del entry.prepared[index]
        entry.open &= ~self._runners[index].mask
        self._prepare_ready(entry)
        if not entry.prepared:
            self._end(entry)

    # ------------------------------------------------------------------------------------------------- from any thread

    def _fail(self, entry: Entry, steps: int, error: Exception, *, stage: str, content: bool) -> None:
        if isinstance(error, ItemError):
            failure = Failure(steps, error.kind, error.message, error.stage, error.detail, content)
        else:
            memory = out_of_memory(error)
            kind: FailureKind = "oom" if memory else "model"
            message = "memory ran out, with this image alone" if memory else f"{type(error).__name__}: {error}"[:500]
            detail = "".join(traceback.format_exception(error))[-2000:]
            failure = Failure(steps, kind, message, stage, detail, content and not memory)
        entry.failures.append(failure)

    def _end(self, entry: Entry) -> None:
        """Send the item's outcome, unless the daemon has been told that nothing more comes."""
        with self._sending:
            if not self._closed:
                self._channel.send(
                    Outcome(
                        entry.work.item,
                        entry.stat,
                        entry.sha256,
                        entry.format,
                        entry.width,
                        entry.height,
                        entry.results,
                        entry.failures,
                        entry.ms,
                    )
                )
                self._sent += 1
                if self._sent % USAGE_EVERY == 0:
                    self._channel.send(usage())
        self._window.forget(entry)


class _Budget:
    """Lets as many in as fit together under a limit; one that is larger than the limit goes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._used == 0 or self._used + amount <= self._limit)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
