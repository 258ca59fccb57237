"""What a worker makes with ``exact`` is what plain transformers code makes of the same files, in any batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
)

from ingestd.protocol.work import Outcome, Step
from ingestd.worker.models.transformers_ import PROVIDER
from tests.pictures import picture
from tests.worker.transformers.kit import LIMIT, encoded, machine, recipe, resolve, result, text, unit, vector
from tests.worker.transformers.plain import PROMPT, plain_texts, plain_vectors
from tests.worker.workerkit import worker

Tiny = Callable[[str], Path]
EMBEDDERS = ("clip", "siglip", "siglip2")
DESCRIBERS = ("smolvlm", "smolvlm2", "llava", "qwen")
NAMES = [*EMBEDDERS, *DESCRIBERS]


@pytest.fixture(scope="module")
def exact(tiny: Tiny, cache: Path) -> list[Step]:
    return recipe(
        *(resolve("embed", tiny(name), cache, exact=True) for name in EMBEDDERS),
        *(resolve("describe", tiny(name), cache, exact=True, prompt=PROMPT, max_tokens=LIMIT) for name in DESCRIBERS),
    )


@pytest.fixture(scope="module")
def outcomes(exact: list[Step], photos: list[Path], cache: Path) -> tuple[dict[int, Outcome], dict[int, Outcome]]:
    """Of all photos from one worker: given at once, and one after the other."""
    with worker(exact, cache) as w:
        together = dict(w.process(photos, timeout=120))
        w.outcomes.clear()
        alone = {at: w.one(path) for at, path in enumerate(photos, len(photos))}
    return together, {at - len(photos): outcome for at, outcome in alone.items()}


@pytest.mark.parametrize("name", EMBEDDERS)
def test_vectors_are_those_of_plain_code(
    name: str, tiny: Tiny, photos: list[Path], outcomes: tuple[dict[int, Outcome], dict[int, Outcome]]
) -> None:
    """Cosine at least 0.9999 to plain code, in a batch of many sizes and alone; other photos have other vectors."""
    bit = 1 + NAMES.index(name)
    plain = plain_vectors(tiny(name), photos)
    for found in outcomes:
        ours = numpy.stack([vector(result(found[at], bit).vector) for at in range(len(photos))])
        assert numpy.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)
        assert ((ours * plain).sum(1) >= 0.9999).all()
        others = ours @ ours.T - 2 * numpy.eye(len(photos))
        assert others.max() < 0.999


@pytest.mark.parametrize("name", DESCRIBERS)
def test_greedy_texts_are_those_of_plain_code(
    name: str, tiny: Tiny, photos: list[Path], outcomes: tuple[dict[int, Outcome], dict[int, Outcome]]
) -> None:
    """The same text, letter by letter, wherever the model ended it: photos of other shapes have other numbers of
    views, so that prompts of other lengths meet in one batch."""
    bit = 1 + NAMES.index(name)
    plain = plain_texts(tiny(name), photos, together=False)
    assert plain_texts(tiny(name), photos, together=True) == plain
    ended = {at: expected for at, expected in enumerate(plain) if expected is not None}
    assert len(set(ended.values())) >= 4
    for found in outcomes:
        ours = {at: result(found[at], bit) for at in ended}
        assert {at: (text(each), each.flag) for at, each in ours.items()} == {
            at: (expected, "") for at, expected in ended.items()
        }


@pytest.mark.parametrize("name", EMBEDDERS)
def test_queries_are_those_of_plain_code(
    name: str,
    tiny: Tiny,
    exact: list[Step],
    photos: list[Path],
    cache: Path,
    outcomes: tuple[dict[int, Outcome], dict[int, Outcome]],
) -> None:
    """A text's vector is plain code's with the padding that the model was trained with, in any case of letters; a
    picture's is the one that its step stored."""
    folder, bit = tiny(name), 1 + NAMES.index(name)
    texts = ["a photo of a cat", "two dogs run along the beach in the evening and a white boat on a lake"]
    answers = encoded(exact[bit], [*texts, texts[0].upper(), photos[4], photos[3]], cache)
    assert [answer.error for answer in answers] == [""] * 5
    found = [vector(answer.vector) for answer in answers]

    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    padding = "longest" if name == "clip" else "max_length"
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding=padding, truncation=True, max_length=16, return_tensors="pt"
    )
    plain = unit(model.get_text_features(**tokens).pooler_output)
    assert float(found[0] @ plain[0]) >= 0.9999
    assert float(found[1] @ plain[1]) >= 0.9999
    assert float(found[0] @ found[1]) < 0.999
    assert float(found[0] @ found[2]) >= 0.9999
    for query, at in ((found[3], 4), (found[4], 3)):
        assert float(query @ vector(result(outcomes[0][at], bit).vector)) >= 0.9999


def test_any_shape_of_picture_goes_through(tiny: Tiny, cache: Path) -> None:
    """One pixel, a line, and strips that a processor would make gigabytes of; of a strip the middle counts, as it does
    for plain code."""
    sizes = [(1, 1), (3, 50), (50, 3), (3, 3), (4, 1), (1, 500), (65_000, 1), (2, 30_000)]
    strip = picture(7, (1500, 48))
    for name in NAMES:
        embeds = name in EMBEDDERS
        step = resolve("embed", tiny(name), cache) if embeds else resolve("describe", tiny(name), cache, max_tokens=2)
        [runner] = PROVIDER.load([step], machine())
        prepared = [runner.prepare(Image.new("RGB", size, (200, 30, 90)), {}) for size in sizes]
        found = dict(runner.run(prepared, [2] * len(sizes)))
        assert sorted(found) == list(range(len(sizes)))
    [runner] = PROVIDER.load([resolve("embed", tiny("clip"), cache, exact=True)], machine())
    [(_, answer)] = runner.run([runner.prepare(strip, {})], [2])
    model = AutoModel.from_pretrained(tiny("clip")).eval()
    inputs = AutoImageProcessor.from_pretrained(tiny("clip"))([strip], return_tensors="pt")
    plain = unit(model.get_image_features(**inputs).pooler_output)[0]
    assert float(vector(answer[1].vector) @ plain) >= 0.999  # type: ignore[union-attr]


def test_the_fast_way_stays_close(tiny: Tiny, photos: list[Path], cache: Path) -> None:
    """Without ``exact``: pictures shrunk while they are decoded, numbers as this machine is fast at. Cosine at least
    0.99 to plain code."""
    steps = recipe(*(resolve("embed", tiny(name), cache) for name in EMBEDDERS))
    with worker(steps, cache) as w:
        found = w.process(photos)
    for bit, name in enumerate(EMBEDDERS, 1):
        plain = plain_vectors(tiny(name), photos)
        cosines = [float(vector(result(found[at], bit).vector) @ plain[at]) for at in range(len(photos))]
        assert min(cosines) >= 0.99, (name, cosines)
