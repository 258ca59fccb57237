"""Vectors of descriptions: sentence encoders and the text towers of CLIP and its like."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ingestd.errors import Misconfigured
from ingestd.worker.models import minilm
from ingestd.worker.models.transformers_ import PROVIDER
from tests.tinymodels import bert
from tests.worker.transformers.kit import encoded, machine, recipe, resolve, result, text, unit, vector
from tests.worker.workerkit import worker

Tiny = Callable[[str], Path]
TEXTS = ["a photo of a cat", "two dogs run along the beach in the evening", "", "a cup of coffee", "rocket " * 60]


def ours(folder: Path, **settings: object) -> numpy.ndarray:
    """The vectors of ``TEXTS`` from one batch."""
    [runner] = PROVIDER.load([resolve("embed_text", folder, **settings)], machine())
    assert runner.want is None
    found = dict(
        runner.run(
            [runner.prepare(None, {"describe": {"description": each}}) for each in TEXTS], [runner.mask] * len(TEXTS)
        )
    )
    return numpy.stack([vector(found[at][1].vector) for at in range(len(TEXTS))])  # type: ignore[union-attr]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_vectors_are_those_of_plain_code(tmp_path: Path, pooling: str) -> None:
    """The token vectors' mean, or the first one, as the folder says: of any lengths in one batch, cut at its limit."""
    folder = bert(tmp_path / "bert", pooling=pooling)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    plain = []
    for each in TEXTS:
        last = model(**tokenizer(each, truncation=True, max_length=32, return_tensors="pt")).last_hidden_state
        plain.append(last.mean(1) if pooling == "mean" else last[:, 0])
    found = ours(folder, exact=True)
    assert ((found * unit(torch.cat(plain))).sum(1) >= 0.9999).all()
    assert float(found[0] @ found[1]) < 0.999


def test_real_weights_give_what_the_builtin_encoder_gives() -> None:
    """The MiniLM that ships in a package, as a folder: with ``exact`` the same vectors, else close to them."""
    plain = minilm.SentenceEncoder(1).vectors(TEXTS)
    assert ((ours(minilm.folder(), exact=True) * plain).sum(1) >= 0.9999).all()
    assert ((ours(minilm.folder()) * plain).sum(1) >= 0.99).all()


def test_a_text_tower_embeds_descriptions(tiny: Tiny) -> None:
    """CLIP's projected text vectors, equal to plain code's."""
    folder = tiny("clip")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    plain = unit(model.get_text_features(**tokens).pooler_output)
    assert ((ours(folder, exact=True) * plain).sum(1) >= 0.9999).all()


def test_words_before_queries_and_documents(tiny: Tiny, tmp_path: Path) -> None:
    """What a model wants before a query and before a document is put there, each on its side."""
    folder = tmp_path / "prompted"
    shutil.copytree(tiny("bert"), folder)
    prompts = {"query": "what is: ", "document": "a photo of: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    step, bare = resolve("embed_text", folder, exact=True), resolve("embed_text", tiny("bert"), exact=True)
    assert step.fingerprint != bare.fingerprint
    [runner] = PROVIDER.load([bare], machine())
    wanted = dict(runner.run(["what is: a cat", "a photo of: a cat"], [2, 2]))
    query, document = (vector(wanted[at][1].vector) for at in (0, 1))  # type: ignore[union-attr]
    assert float(vector(PROVIDER.encoder(step, machine()).encode("a cat")) @ query) >= 0.9999
    [runner] = PROVIDER.load([step], machine())
    [(_, answer)] = runner.run(["a cat"], [2])
    assert float(vector(answer[1].vector) @ document) >= 0.9999  # type: ignore[union-attr]


def test_descriptions_are_embedded_in_the_run_that_writes_them(tiny: Tiny, photos: list[Path], cache: Path) -> None:
    """A worker with all three steps: one outcome a photo, the text vector being that of its description, and a query
    with the same words finds it; pictures are no queries for it."""
    text_step = resolve("embed_text", tiny("clip"), cache, exact=True)
    steps = recipe(
        resolve("embed", tiny("clip"), cache, exact=True),
        resolve("describe", tiny("smolvlm"), cache, exact=True),
        text_step,
    )
    with worker(steps, cache) as w:
        outcomes = w.process(photos[:3])
    words = [text(result(outcomes[at], 2)) for at in range(3)]
    answers = encoded(text_step, [*words, photos[0]], cache)
    for at in range(3):
        assert float(vector(answers[at].vector) @ vector(result(outcomes[at], 3).vector)) >= 0.9999
        assert vector(result(outcomes[at], 1).vector).shape == (24,)
    assert (answers[3].vector, answers[3].error) == (None, "its vectors are of text: search it with words")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: bert(folder, pooling="max"), "pools its token vectors"),
        (lambda folder: _add_layer(bert(folder)), "a layer that is not known here (Dense)"),
    ],
)
def test_strange_sentence_encoders_are_refused(tmp_path: Path, spoil: Callable[[Path], Path], why: str) -> None:
    """Vectors that are made in a way that is not known here are never made in another."""
    with pytest.raises(Misconfigured) as caught:
        resolve("embed_text", spoil(tmp_path / "bert"))
    assert why in caught.value.message


def _add_layer(folder: Path) -> Path:
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder
