"""The builtin models on real photographs, through real worker processes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest
import skimage.data

from ingestd.protocol.work import (
    Encode,
    Encoded,
    EncodeSetup,
    Fatal,
    Finish,
    FromWorker,
    Hello,
    Machine,
    Outcome,
    Probe,
    Probed,
    Ready,
    Step,
    StepRequest,
    WorkerSetup,
)
from ingestd.worker.models import builtin, minilm
from tests.childkit import running
from tests.worker.workerkit import worker

PHOTOS = Path(skimage.data.__file__).parent
NAMES = [
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png"),
    *("horse.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "page.png", "rocket.jpg", "text.png"),
]


def probe(cache: Path, *requests: StepRequest) -> list[Step]:
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(Probe(list(requests), Machine(str(cache))))
        probed: Probed = child.expect(Probed)
        steps = probed.steps
        for step in steps:  # what a step ran with is in its provenance too, by the hash of its files
            hashes = {name: value for name, value in step.spec.items() if name in ("weights", "text_weights")}
            assert bool(hashes) == (step.kind != "meta")
            assert not hashes or probed.provenance[step.kind].items() >= hashes.items()
        assert child.wait() == 0
    return [msgspec.structs.replace(step, bit=bit) for bit, step in enumerate(steps)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def steps(cache: Path) -> list[Step]:
    return probe(cache, *(StepRequest(*request) for request in RECIPE))


RECIPE = (("meta", "none"), ("embed", "builtin"), ("describe", "builtin"))


@pytest.fixture(scope="module")
def answered(cache: Path, steps: list[Step]) -> dict[str, Outcome]:
    """Every photo's outcome from one worker, in batches."""
    with worker(steps, cache) as w:
        maps = Path(f"/proc/{w.child.process.pid}/maps")
        assert not maps.exists() or not re.search(r"/(transformers|tokenizers)/", maps.read_text())
        outcomes = w.process([PHOTOS / name for name in NAMES])
    return {name: outcomes[i] for i, name in enumerate(NAMES)}


def vector_of(outcome: Outcome) -> numpy.ndarray:
    [vector] = [result.vector for result in outcome.results if result.bit == 1]
    assert vector is not None
    return numpy.frombuffer(vector, "<f4")


def body_of(outcome: Outcome) -> dict[str, Any]:
    [body] = [json.loads(result.body) for result in outcome.results if result.bit == 2]
    assert isinstance(body, dict)
    return body


def test_the_probe_resolves_in_order(cache: Path, steps: list[Step]) -> None:
    """Fingerprints differ by step and are the same in another process."""
    assert [step.kind for step in steps] == ["meta", "embed", "describe"]
    assert len({step.fingerprint for step in steps}) == 3
    assert steps[1].spec["dim"] == 384
    assert steps[1].spec["model"] == steps[2].spec["model"] == "builtin"
    assert probe(cache, StepRequest("describe", "builtin"))[0].fingerprint == steps[2].fingerprint


def test_the_table_of_labels_is_what_the_text_model_makes() -> None:
    """The vectors that ship are those of the labels that ship: of every one, in their order."""
    made = minilm.SentenceEncoder(1).vectors([builtin.TEMPLATE.format(label) for label in builtin.labels()])
    assert builtin.label_vectors().shape == (1000, minilm.DIM)
    assert numpy.abs(builtin.label_vectors() - made).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("chelsea.png", {"tabby cat", "tiger cat", "egyptian cat"}),
        ("coffee.png", {"espresso", "cup", "coffee mug"}),
        ("rocket.jpg", {"missile", "projectile", "space shuttle"}),
        ("motorcycle_left.png", {"moped", "motor scooter"}),
        ("camera.png", {"tripod"}),
    ],
)
def test_labels_are_right(answered: dict[str, Outcome], name: str, words: set[str]) -> None:
    """The best label of a photo with a clear subject names it; ten tags come with falling scores."""
    body = body_of(answered[name])
    labels = [tag["label"] for tag in body["tags"]]
    scores = [tag["score"] for tag in body["tags"]]
    assert labels[0] in words
    assert body["description"].startswith(labels[0])
    assert (len(labels), scores) == (10, sorted(scores, reverse=True))


def test_vectors_are_unit_length(answered: dict[str, Outcome]) -> None:
    """384 numbers, L2-normalised."""
    for outcome in answered.values():
        assert vector_of(outcome).shape == (384,)
        assert numpy.linalg.norm(vector_of(outcome)) == pytest.approx(1, abs=1e-5)


def test_a_batch_gives_what_single_images_give(cache: Path, steps: list[Step], answered: dict[str, Outcome]) -> None:
    """Cosine at least 0.9999 between an image's vector alone and in a batch."""
    with worker(steps, cache) as w:
        for name in NAMES[:6]:
            alone = w.one(PHOTOS / name)
            assert float(vector_of(alone) @ vector_of(answered[name])) >= 0.9999
            assert body_of(alone)["tags"][0]["label"] == body_of(answered[name])["tags"][0]["label"]


def test_text_finds_its_photo(cache: Path, steps: list[Step], answered: dict[str, Outcome]) -> None:
    """Each query's photo comes first among all; the encoder answers until it is told to finish."""
    wanted = {"a cat": "chelsea.png", "a cup of coffee": "coffee.png", "a rocket": "rocket.jpg", "coffee": "coffee.png"}
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(EncodeSetup(steps[1], Machine(str(cache))))
        child.expect(Ready)
        for id, (query, name) in enumerate(wanted.items()):
            child.send(Encode(id, query))
            encoded = child.expect(Encoded)
            assert (encoded.id, encoded.error) == (id, "")
            query_vector = numpy.frombuffer(encoded.vector, "<f4")
            assert numpy.linalg.norm(query_vector) == pytest.approx(1, abs=1e-5)
            scores = {photo: float(vector_of(outcome) @ query_vector) for photo, outcome in answered.items()}
            assert max(scores, key=scores.__getitem__) == name, (query, scores)
        child.send(Finish())
        assert child.wait() == 0


def test_an_image_finds_itself(cache: Path, steps: list[Step], answered: dict[str, Outcome]) -> None:
    """An image query is the vector that the same image has in the store; what is no image is said, and the next is
    answered."""
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(EncodeSetup(steps[1], Machine(str(cache))))
        child.expect(Ready)
        child.send(Encode(1, "", bytes(Path(__file__))))
        assert "not an image" in child.expect(Encoded).error
        child.send(Encode(2, "", b"/nowhere.jpg"))
        assert "gone" in child.expect(Encoded).error
        for name in ("chelsea.png", "rocket.jpg"):
            child.send(Encode(3, "", bytes(PHOTOS / name)))
            query = numpy.frombuffer(child.expect(Encoded).vector, "<f4")
            assert float(query @ vector_of(answered[name])) >= 0.9999


def test_descriptions_have_vectors_of_their_own(cache: Path) -> None:
    """The vector of a description is that of its words as a query; one that is known already is not made again."""
    meta, describe, text = probe(
        cache,
        StepRequest("meta", "none"),
        StepRequest("describe", "builtin"),
        StepRequest("embed_text", "builtin", needs=("describe",)),
    )
    with worker([meta, describe, text], cache) as w:
        whole = w.one(PHOTOS / "coffee.png")
        again = w.one(
            PHOTOS / "coffee.png", steps=1 << text.bit, bodies={"describe": json.dumps({"description": "a cat"})}
        )
        orphan = w.one(PHOTOS / "coffee.png", steps=1 << text.bit)
    vectors = {result.bit: result.vector for result in whole.results}
    assert set(vectors) == {meta.bit, describe.bit, text.bit}
    assert [result.bit for result in again.results] == [text.bit]
    assert [failure.message for failure in orphan.failures] == ["there is no description to work on"]
    [words] = [json.loads(result.body)["description"] for result in whole.results if result.bit == describe.bit]
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(EncodeSetup(text, Machine(str(cache))))
        child.expect(Ready)
        for query, made in ((words, vectors[text.bit]), ("a cat", again.results[0].vector)):
            child.send(Encode(1, query))
            found = numpy.frombuffer(child.expect(Encoded).vector, "<f4")
            assert float(found @ numpy.frombuffer(made, "<f4")) >= 0.9999
        child.send(Encode(2, "", bytes(PHOTOS / "coffee.png")))
        assert "vectors are of text" in child.expect(Encoded).error


def test_exact_is_another_step(cache: Path, steps: list[Step]) -> None:
    """Full decoding gives other numbers, so it has a fingerprint of its own."""
    (exact,) = probe(cache, StepRequest("describe", "builtin", {"exact": True}))
    assert exact.fingerprint != steps[2].fingerprint


def test_other_weights_than_the_jobs_are_refused(cache: Path, steps: list[Step]) -> None:
    """Results never go under a fingerprint that the installed weights do not have."""
    other = msgspec.structs.replace(steps[2], spec={**steps[2].spec, "weights": "0" * 64})
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(WorkerSetup([steps[0], other], Machine(str(cache), threads=1)))
        fatal = child.expect(Fatal)
        assert (fatal.kind, "upgrade" in fatal.remedy) == ("misconfigured", True)
        assert child.wait() == 1


def test_settings_that_mean_nothing_here_are_refused(tmp_path: Path) -> None:
    """A prompt for a model that takes none is told, not ignored."""
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(Probe([StepRequest("describe", "builtin", {"prompt": "What is this?"})], Machine(str(tmp_path))))
        assert child.expect(Fatal).kind == "misconfigured"
