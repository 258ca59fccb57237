"""Descriptions: settings, draws, the second attempt, memory; by real workers where the process matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ingestd.protocol.work import Step, StepResult
from ingestd.worker.models.transformers_ import PROVIDER
from ingestd.worker.steps.base import Runner
from tests.pictures import picture
from tests.worker.test_batches import collect, pipeline
from tests.worker.transformers.kit import LIMIT, machine, opened, recipe, resolve, result, text
from tests.worker.workerkit import worker

Tiny = Callable[[str], Path]


def loaded(step: Step) -> Any:
    [runner] = PROVIDER.load([step], machine())
    return runner


def answers(runner: Any, photos: Sequence[Path]) -> list[StepResult]:
    """The results for these photos as one batch, in their order."""
    prepared = [runner.prepare(opened(path), {}) for path in photos]
    found = dict(runner.run(prepared, [runner.mask] * len(photos)))
    assert sorted(found) == list(range(len(photos)))
    return [found[at][1] for at in range(len(photos))]


def test_odd_texts_are_written_again_and_flagged(
    tiny: Tiny, photos: list[Path], cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through one worker: a model that loops for ever leaves its loop in the second attempt where it can; where it
    cannot, and where it never ends, the text is kept with a flag that its body shows. The libraries say nothing."""
    names = ["looping", "endless", "curable"]
    for name in names:
        tiny(name)
    capfd.readouterr()
    with worker(recipe(*(resolve("describe", tiny(name), cache, max_tokens=LIMIT) for name in names)), cache) as w:
        outcomes = w.process(photos[:3])
    assert tuple(capfd.readouterr()) == ("", "")
    for outcome in outcomes.values():
        looping, endless, curable = (result(outcome, bit) for bit in (1, 2, 3))
        assert (looping.flag, endless.flag, curable.flag) == ("loop", "cut", "")
        assert b'"odd":"loop"' in looping.body
        assert b"odd" not in curable.body
        assert text(looping)
        assert text(endless)
        assert text(curable)


def test_only_odd_texts_are_written_again(tiny: Tiny, photos: list[Path]) -> None:
    """The second attempt runs over what is odd alone, and a fine text is given before it."""
    runner = loaded(resolve("describe", tiny("smolvlm"), exact=True, max_tokens=8))
    calls: list[int] = []
    write = runner._write

    def counted(prepared: Sequence[Any], temperature: float, seed: int) -> Any:
        calls.append(len(prepared))
        return write(prepared, temperature, seed)

    prepared = [runner.prepare(opened(path), {}) for path in photos]
    fine = {at for at, (_, odd) in enumerate(write(prepared, 0, 0)) if not odd}
    assert 0 < len(fine) < len(photos)
    runner._write = counted
    order = [at for at, _ in runner.run(prepared, [runner.mask] * len(prepared))]
    assert calls == [len(photos), len(photos) - len(fine)]
    assert set(order[: len(fine)]) == fine


def test_a_worker_that_is_to_end_begins_no_second_attempt(tiny: Tiny, photos: list[Path]) -> None:
    """Odd texts are then left without an answer; their items go back."""
    runner = loaded(resolve("describe", tiny("looping"), max_tokens=LIMIT))
    prepared = [runner.prepare(opened(photos[0]), {})]
    runner.drain()
    assert list(runner.run(prepared, [runner.mask])) == []


def test_draws_depend_on_the_seed_alone(tiny: Tiny, photos: list[Path]) -> None:
    """With a temperature a text is drawn: the same for the same seed, alone or in a batch; another for another seed;
    other pictures have other texts."""
    drawn = {}
    for seed in (0, 1):
        runner = loaded(resolve("describe", tiny("smolvlm"), exact=True, max_tokens=LIMIT, temperature=1.5, seed=seed))
        drawn[seed] = [text(each) for each in answers(runner, photos)]
        assert [text(answers(runner, [path])[0]) for path in photos] == drawn[seed]
        assert len(set(drawn[seed])) > 1
    assert drawn[0] != drawn[1]


def test_the_sampler_draws_from_the_softmax() -> None:
    """Over many seeds, tokens come as often as ``softmax(logits / temperature)`` says."""
    import torch

    from ingestd.worker.models.transformers_.sampling import sampler

    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    counts = torch.zeros(4)
    for seed in range(4000):
        counts[sampler(0.8, seed)(None, logits).argmax()] += 1
    assert counts / 4000 == pytest.approx(torch.softmax(logits[0] / 0.8, 0), abs=0.03)


def test_prompt_and_limit_reach_the_model(tiny: Tiny, photos: list[Path]) -> None:
    """Another prompt gives another text; a text has no more tokens than asked for."""
    folder = tiny("smolvlm")
    one, other = (
        [text(each) for each in answers(loaded(resolve("describe", folder, exact=True, prompt=prompt)), photos)]
        for prompt in ("a cat", "two dogs")
    )
    assert one != other
    short = loaded(resolve("describe", folder, exact=True, prompt="a cat", max_tokens=1))
    assert all(len(short._tokenizer(text(each))["input_ids"]) <= 3 for each in answers(short, photos))


def test_one_view_of_a_picture_unless_exact(tiny: Tiny, photos: list[Path]) -> None:
    """The views that a model would split a photo into are what makes it ten times slower: one by default, waiting as
    float16 where the model rounds more; all of them with ``exact``, and then fewer pictures in a batch."""
    fast = loaded(resolve("describe", tiny("smolvlm2")))
    exact = loaded(resolve("describe", tiny("smolvlm2"), exact=True))
    picture = opened(photos[4])
    assert fast.prepare(picture, {})["pixel_values"].shape == (1, 1, 3, 32, 32)
    assert exact.prepare(picture, {})["pixel_values"].shape[1] > 10
    assert exact.prepare(picture, {})["pixel_values"].dtype == "float32"
    assert (fast.want, exact.want) == (32, 0)
    assert exact.batch < fast.batch


def test_a_model_that_takes_any_number_of_pixels_gets_a_million(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless exact: a photo of 12 megapixels is 16,000 tokens to such a model otherwise. Its own limits, where they are
    lower, are kept."""
    from ingestd.worker.models.transformers_ import describe

    large, small = picture(1, (1200, 900)), picture(1, (64, 48))
    exact = loaded(resolve("describe", tiny("qwen"), exact=True))
    plain = loaded(resolve("describe", tiny("qwen")))
    monkeypatch.setattr(describe, "MOST_PIXELS", 32 * 64)
    fast = loaded(resolve("describe", tiny("qwen")))
    sides = 8 * 8
    assert 0.7 * 128**2 < len(exact.prepare(large, {})["pixel_values"]) * sides <= 128**2
    assert len(plain.prepare(large, {})["pixel_values"]) == len(exact.prepare(large, {})["pixel_values"])
    assert 0.5 * 32 * 64 < len(fast.prepare(large, {})["pixel_values"]) * sides <= 32 * 64
    assert len(fast.prepare(small, {})["pixel_values"]) * sides <= 32 * 64
    assert (exact.want, fast.want) == (0, 46)


def test_a_strip_is_cut_before_a_processor_enlarges_it(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that scales the shorter side and takes the middle would make gigabytes of a line of pixels."""
    runner = loaded(resolve("describe", tiny("llava")))
    seen: list[tuple[int, int]] = []
    kind = type(runner._prompted._processor.image_processor)
    resize = kind.resize

    def watched(self: Any, image: Any, *args: Any, **options: Any) -> Any:
        seen.append(image.shape[-2:])
        return resize(self, image, *args, **options)

    monkeypatch.setattr(kind, "resize", watched)
    runner.prepare(Image.new("RGB", (65_000, 1)), {})
    assert seen == [(1, 20)]


class RunnerThatHoldsThree(Runner):
    """A real describer in a machine where four pictures at once do not fit."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.mask, self.want, self.batch = inner.mask, inner.want, 8
        self.sizes: list[int] = []
        generate = inner._model.generate

        def small(**inputs: Any) -> Any:
            self.sizes.append(len(inputs["input_ids"]))
            if len(inputs["input_ids"]) > 3:
                raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
            return generate(**inputs)

        inner._model.generate = small

    def prepare(self, view: Any, bodies: Any) -> Any:
        return self.inner.prepare(view, bodies)

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Any:
        return self.inner.run(prepared, asked)


def test_out_of_memory_halves_the_batch_and_changes_no_text(tiny: Tiny, photos: list[Path]) -> None:
    """Every photo is described as it is alone, by batches that fit."""
    runner = loaded(resolve("describe", tiny("smolvlm"), exact=True, max_tokens=LIMIT))
    alone = [text(answers(runner, [path])[0]) for path in photos]
    small = RunnerThatHoldsThree(runner)
    with pipeline(small) as (line, _):
        line.give(photos, mask=0b010)
        outcomes = collect(line, len(photos))
    assert [text(result(outcomes[at], 1)) for at in range(len(photos))] == alone
    assert small.batch == 2
    assert small.sizes[0] == 8
