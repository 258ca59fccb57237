"""What decides a step's results is in its fingerprint, and nothing else is; a worker runs only what was resolved."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPModel

from ingestd.protocol.work import Fatal, FromWorker, Hello, Step, StepRequest, WorkerSetup
from ingestd.worker.models import weights
from ingestd.worker.models.transformers_ import PROVIDER, device, resolve as transformers_resolve
from ingestd.worker.models.weights import weights_hash
from ingestd.worker.steps import registry
from tests.childkit import running
from tests.tinymodels import clip
from tests.worker.transformers.kit import machine, opened, recipe, resolve, vector
from tests.worker.transformers.test_refusals import edit

Tiny = Callable[[str], Path]


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


@pytest.mark.parametrize(("kind", "name"), [("embed", "clip"), ("describe", "smolvlm"), ("embed_text", "bert")])
def test_the_same_files_elsewhere_are_the_same_step(kind: str, name: str, tiny: Tiny, tmp_path: Path) -> None:
    """Neither the folder's name, nor the library version that wrote it, nor what else lies in it makes a difference."""
    here, there = tiny(name), copied(tiny(name), tmp_path / "elsewhere")
    edit(there, "config.json", transformers_version="4.0.0", _name_or_path="somebody/else")
    (there / "README.md").write_text("read me")
    (there / "vocab.txt").write_text("what tokenizer.json makes needless")
    one, other = resolve(kind, here), resolve(kind, there)
    assert one.fingerprint == other.fingerprint
    assert (one.spec["model"], other.spec["model"]) == (str(here), str(there))


def test_what_changes_results_changes_the_fingerprint(tiny: Tiny, tmp_path: Path) -> None:
    """Weights, processor, tokenizer, prompt, limit, temperature, seed and exactness: all differ from each other."""
    folder = tiny("smolvlm")
    found = [
        resolve("describe", folder),
        resolve("describe", folder, prompt="a cat?"),
        resolve("describe", folder, max_tokens=5),
        resolve("describe", folder, temperature=0.5),
        resolve("describe", folder, seed=1),
        resolve("describe", folder, exact=True),
        resolve("describe", tiny("endless")),  # the same weights with other end tokens
        resolve("describe", tiny("looping")),
    ]
    for name, change in (("preprocessor_config.json", {"resample": 2}), ("tokenizer_config.json", {"x": 1})):
        edit(copied(folder, tmp_path / name), name, **change)
        found.append(resolve("describe", tmp_path / name))
    assert len({step.fingerprint for step in found}) == len(found)
    defaults = {"prompt": found[0].spec["prompt"], "max_tokens": 64, "temperature": 0.0, "seed": 0, "exact": False}
    assert resolve("describe", folder, **defaults).fingerprint == found[0].fingerprint


def test_kinds_of_one_folder_differ(tiny: Tiny) -> None:
    """A picture's vector is no description's vector."""
    steps = [resolve(kind, tiny("clip")) for kind in ("embed", "embed_text")]
    assert len({step.fingerprint for step in steps}) == 2
    assert [(step.spec["dim"], step.spec["vector"]) for step in steps] == [(24, "embed"), (24, "embed_text")]


def test_where_the_configuration_does_not_say_the_model_is_asked(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of a vector is that of the text tower's output."""
    said = resolve("embed", tiny("clip"))
    monkeypatch.setattr(transformers_resolve, "_PROJECTED", ())
    assert resolve("embed", tiny("clip")) == said


def test_device_and_dtype_are_provenance(tiny: Tiny, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are recorded for each step as it runs, not in what identifies it."""
    monkeypatch.setattr(device, "_fast_dtype", lambda _: "bfloat16")
    model = str(tiny("clip"))
    requests = [
        StepRequest("embed", model, {"exact": True}),
        StepRequest("embed_text", model),
        StepRequest("describe", "builtin"),
    ]
    found: Any = registry.provenance(requests, machine())
    assert [found[request.kind]["dtype"] for request in requests] == ["float32", "bfloat16", "float32"]
    assert {found[request.kind]["device"] for request in requests} == {"cpu"}
    assert {"torch", "transformers", "tokenizers", "safetensors"} < found["embed"].keys()
    spec = resolve("embed", tiny("clip"), cache).spec
    assert not {"device", "dtype"} & spec.keys()


def refused(steps: list[Step]) -> Fatal:
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(WorkerSetup(steps, machine()))
        fatal: Fatal = child.expect(Fatal)
        assert child.wait() == 1
    return fatal


def test_other_files_than_the_jobs_are_refused(tmp_path: Path) -> None:
    """Results never go under a fingerprint that the files there do not have."""
    step = resolve("embed", clip(tmp_path / "clip"))
    weights = (tmp_path / "clip" / "model.safetensors").read_bytes()
    (tmp_path / "clip" / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\0\0")
    fatal = refused(recipe(step))
    assert (fatal.kind, "upgrade" in fatal.remedy) == ("misconfigured", True)


# ------------------------------------------------------------------------------------------------------- kept hashes


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were really hashed."""
    found: list[Path] = []
    real = weights.sha256_of

    def counted(path: Path) -> str:
        found.append(path)
        return real(path)

    monkeypatch.setattr(weights, "sha256_of", counted)
    return found


def test_a_hash_is_computed_once_for_a_state_of_the_file(tmp_path: Path, reads: list[Path]) -> None:
    """Read once, also through a link; again when the file, or what was kept, is another."""
    file, cache, link = tmp_path / "w", tmp_path / "cache", tmp_path / "link"
    file.write_bytes(b"one")
    link.symlink_to(file)
    first = weights_hash([file], cache)
    assert weights_hash([link], cache) == weights_hash([file], cache) == first
    assert len(reads) == 1
    state = file.stat()
    file.write_bytes(b"two")  # the same length and, set below, the same time of change
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = weights_hash([file], cache)
    assert (second != first, len(reads)) == (True, 2)
    [kept] = cache.iterdir()
    kept.write_text("{}")
    assert weights_hash([file], cache) == second
    assert len(reads) == 3
    assert weights_hash([file], None) == second
    assert len(reads) == 4


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    """The hash comes all the same."""
    (tmp_path / "w").write_bytes(b"one")
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert weights_hash([tmp_path / "w"], tmp_path / "cache") == weights_hash([tmp_path / "w"], None)


def test_shards_count_in_their_order(tmp_path: Path) -> None:
    """Several files have one hash, which another order does not have."""
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_bytes(file.name.encode())
    assert weights_hash(files, None) != weights_hash(files[::-1], None)
    assert len(weights_hash(files, None)) == 64


def test_a_tokenizer_class_that_wants_a_library_is_not_needed(tiny: Tiny, tmp_path: Path) -> None:
    """SigLIP's folders name a class that wants sentencepiece, beside a tokenizer.json that needs no such thing."""
    folder = copied(tiny("siglip"), tmp_path / "siglip")
    edit(folder, "tokenizer_config.json", tokenizer_class="SiglipTokenizer")
    named, plain = (PROVIDER.encoder(resolve("embed", each), machine()) for each in (folder, tiny("siglip")))
    assert named.encode("a photo of a cat") == plain.encode("a photo of a cat")


def test_sharded_weights_load(tiny: Tiny, tmp_path: Path, photos: list[Path]) -> None:
    """A checkpoint of several files gives the vectors of the one that is one file."""
    folder = copied(tiny("clip"), tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    CLIPModel.from_pretrained(tiny("clip")).save_pretrained(folder, max_shard_size="100KB")
    assert len(json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]) > 1
    steps = [resolve("embed", each, exact=True) for each in (folder, tiny("clip"))]
    one, other = (_first_vector(PROVIDER.load([step], machine())[0], photos[0]) for step in steps)
    assert float(vector(one) @ vector(other)) >= 0.9999


def _first_vector(runner: Any, photo: Path) -> bytes:
    [(_, answer)] = runner.run([runner.prepare(opened(photo), {})], [2])
    found: bytes = answer[1].vector
    return found
