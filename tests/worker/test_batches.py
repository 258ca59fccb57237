"""Model batches: the pipeline with runners that misbehave, each named after how."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import ItemError
from ingestd.protocol.work import Drain, Finish, Hashed, Outcome, Step, StepResult, Verdict, Work
from ingestd.worker.pipeline import Pipeline
from ingestd.worker.steps.base import Answer, Runner
from tests import pictures
from tests.worker.workerkit import META_STEP, stat_of

STEPS = [META_STEP, Step(1, "embed", "1" * 64, {}), Step(2, "describe", "2" * 64, {})]
BOTH = 0b110
ALL = 0b111


class Line:
    """A channel whose other end is the test.

    The items of one ``give`` get their verdicts together, once all are hashed: so the models' batches do not depend on
    how fast the test's thread is.
    """

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._verdicts: list[Verdict] = []
        self._expected = 0
        self._mask = ALL

    def give(self, paths: Sequence[Path], *, first: int = 0, mask: int = ALL) -> None:
        """Give these files as items ``first``, ``first + 1`` …; their verdict is ``go`` for ``mask``."""
        self._expected, self._mask = len(paths), mask
        for item, path in enumerate(paths, first):
            self.inbox.put(Work(item, os.fsencode(path), stat_of(path), mask))

    def receive(self) -> Any:
        return self.inbox.get()

    def send(self, message: Any) -> None:
        if isinstance(message, Outcome):
            self.outcomes.put(message)
        if not isinstance(message, Hashed):
            return
        with self._lock:
            self._verdicts.append(Verdict(message.item, "go", self._mask))
            if len(self._verdicts) == self._expected:
                for verdict in self._verdicts:
                    self.inbox.put(verdict)
                self._verdicts.clear()


class RunnerThatAnswers(Runner):
    """Answers every bit asked for; keeps the sizes of its batches."""

    def __init__(self, mask: int = BOTH, batch: int = 4) -> None:
        self.mask, self.want, self.batch = mask, 0, batch
        self.sizes: list[int] = []

    def prepare(self, view: Any, bodies: Any) -> Any:
        return view.size

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        self.sizes.append(len(prepared))
        self.trouble(prepared)
        return enumerate({bit: StepResult(bit, b"{}") for bit in range(3) if mask >> bit & 1} for mask in asked)

    def trouble(self, prepared: Sequence[Any]) -> None:
        pass


class RunnerThatRaisesForWide(RunnerThatAnswers):
    def trouble(self, prepared: Sequence[Any]) -> None:
        if any(width > 64 for width, _ in prepared):
            raise ValueError("a wide one")


class RunnerThatHoldsTwo(RunnerThatAnswers):
    """Runs out of memory, in torch's words, with more than two pictures."""

    def trouble(self, prepared: Sequence[Any]) -> None:
        if len(prepared) > 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")


class RunnerWithoutMemory(RunnerThatAnswers):
    def trouble(self, prepared: Sequence[Any]) -> None:
        raise MemoryError


class RunnerThatRefusesOneStep(RunnerThatAnswers):
    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        answer: Answer = {1: StepResult(1, b"{}"), 2: ItemError("model", "no words", stage="model")}
        return enumerate(answer for _ in asked)


class SlowRunner(RunnerThatAnswers):
    def __init__(self) -> None:
        super().__init__(batch=2)
        self.began = threading.Event()
        self.go_on = threading.Event()

    def trouble(self, prepared: Sequence[Any]) -> None:
        self.began.set()
        assert self.go_on.wait(10)


@contextmanager
def pipeline(*runners: Runner) -> Iterator[tuple[Line, threading.Thread]]:
    line = Line()
    main = threading.Thread(target=Pipeline(line, STEPS, runners).run, daemon=True)  # type: ignore[arg-type]
    main.start()
    yield line, main
    line.inbox.put(Drain())
    main.join(10)
    assert not main.is_alive()


def collect(line: Line, n: int) -> dict[int, Outcome]:
    found = [line.outcomes.get(timeout=10) for _ in range(n)]
    assert len({outcome.item for outcome in found}) == n
    return {outcome.item: outcome for outcome in found}


def bits(outcome: Outcome) -> list[int]:
    return sorted(result.bit for result in outcome.results)


def test_images_go_through_in_real_batches(tmp_path: Path) -> None:
    """With a full window the model sees full batches; the rest runs as a partial one, without waiting for ever."""
    runner = RunnerThatAnswers()
    with pipeline(runner) as (line, _):
        line.give(pictures.write_photos(tmp_path, 22))
        outcomes = collect(line, 22)
    assert all(bits(outcome) == [0, 1, 2] for outcome in outcomes.values())
    assert runner.sizes == [4, 4, 4, 4, 4, 2]
    ms = outcomes[0].ms
    assert set(ms) == {"read", "decode", "meta", "model", "embed", "describe"}
    assert ms["model"] == pytest.approx(ms["embed"] + ms["describe"])


def test_a_single_image_does_not_wait_for_a_full_batch(tmp_path: Path) -> None:
    """Nothing else is coming: the batch runs at once."""
    with pipeline(RunnerThatAnswers()) as (line, _):
        line.give(pictures.write_photos(tmp_path, 1))
        began = time.monotonic()
        collect(line, 1)
        assert time.monotonic() - began < 2


def test_only_the_culprit_of_a_batch_fails(tmp_path: Path) -> None:
    """An image that makes its batch raise fails alone, with what its other steps made in the same outcome."""
    paths = pictures.write_photos(tmp_path, 7)
    paths[3].write_bytes(pictures.photo(3, (128, 48)))
    with pipeline(RunnerThatRaisesForWide(BOTH)) as (line, _):
        line.give(paths)
        outcomes = collect(line, 7)
    [failure] = outcomes[3].failures
    assert (failure.kind, failure.stage, failure.steps, failure.content) == ("model", "model", BOTH, True)
    assert "a wide one" in failure.message
    assert bits(outcomes[3]) == [0]
    assert all(outcomes[i].failures == [] for i in range(7) if i != 3)


def test_out_of_memory_halves_the_batch(tmp_path: Path) -> None:
    """Torch's forms of running out of memory make the batch smaller, once and for all; no image fails."""
    runner = RunnerThatHoldsTwo(batch=8)
    with pipeline(runner) as (line, _):
        line.give(pictures.write_photos(tmp_path, 16))
        outcomes = collect(line, 16)
    assert all(bits(outcome) == [0, 1, 2] for outcome in outcomes.values())
    assert runner.batch == 2


def test_out_of_memory_with_one_image_is_oom_and_not_its_content(tmp_path: Path) -> None:
    """At batch 1 the item fails as ``oom``; another machine or hour may do it."""
    with pipeline(RunnerWithoutMemory()) as (line, _):
        line.give(pictures.write_photos(tmp_path, 3))
        outcomes = collect(line, 3)
    for outcome in outcomes.values():
        [failure] = outcome.failures
        assert (failure.kind, failure.stage, failure.content) == ("oom", "model", False)


def test_one_step_may_fail_and_the_other_not(tmp_path: Path) -> None:
    """Results and failures of one item are in one outcome."""
    with pipeline(RunnerThatRefusesOneStep()) as (line, _):
        line.give(pictures.write_photos(tmp_path, 1))
        outcome = collect(line, 1)[0]
    assert bits(outcome) == [0, 1]
    assert [(failure.steps, failure.message) for failure in outcome.failures] == [(0b100, "no words")]


def test_two_models_each_see_the_image(tmp_path: Path) -> None:
    """Steps of different models, with different batch sizes, meet in one outcome per item."""
    embed, describe = RunnerThatAnswers(0b010, batch=8), RunnerThatAnswers(0b100, batch=3)
    with pipeline(embed, describe) as (line, _):
        line.give(pictures.write_photos(tmp_path, 10))
        outcomes = collect(line, 10)
    assert all(bits(outcome) == [0, 1, 2] for outcome in outcomes.values())
    assert (embed.sizes, describe.sizes) == ([8, 2], [3, 3, 2, 2])


def test_an_item_that_needs_no_model_is_not_held_up_by_one(tmp_path: Path) -> None:
    """Its outcome comes while the model is busy with others."""
    runner = SlowRunner()
    paths = pictures.write_photos(tmp_path, 3)
    with pipeline(runner) as (line, _):
        line.give(paths[:2])
        assert runner.began.wait(10)
        line.give(paths[2:], first=2, mask=0b001)
        assert list(collect(line, 1)) == [2]
        runner.go_on.set()
        assert sorted(collect(line, 2)) == [0, 1]


def test_drain_sends_what_is_in_the_model_and_leaves_the_rest(tmp_path: Path) -> None:
    """A pause takes effect within one model batch."""
    runner = SlowRunner()
    with pipeline(runner) as (line, main):
        line.give(pictures.write_photos(tmp_path, 10))
        assert runner.began.wait(10)
        line.inbox.put(Drain())
        time.sleep(0.1)
        runner.go_on.set()
        main.join(10)
        assert not main.is_alive()
        collect(line, 2)
        assert line.outcomes.empty()


def test_finish_waits_for_the_models(tmp_path: Path) -> None:
    """All given work is done before the pipeline returns."""
    with pipeline(RunnerThatAnswers()) as (line, main):
        line.give(pictures.write_photos(tmp_path, 9))
        line.inbox.put(Finish())
        main.join(10)
        assert not main.is_alive()
        assert len(collect(line, 9)) == 9


def test_a_corrupt_file_fails_all_steps_and_reaches_no_model(tmp_path: Path) -> None:
    """One failure over every step of the verdict, no result."""
    path = tmp_path / "bad.jpg"
    path.write_bytes(pictures.truncated())
    runner = RunnerThatAnswers()
    with pipeline(runner) as (line, _):
        line.give([path])
        outcome = collect(line, 1)[0]
    assert [(failure.kind, failure.steps) for failure in outcome.failures] == [("corrupt", ALL)]
    assert (outcome.results, runner.sizes) == ([], [])
