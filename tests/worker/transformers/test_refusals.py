"""What is wrong with a model is told in one sentence before any item is claimed, and nothing unsafe is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingestd.errors import Misconfigured, Unavailable
from ingestd.protocol.work import Fatal, FromWorker, Hello, Probe, StepRequest, WorkerSetup
from ingestd.worker.models.transformers_ import device
from ingestd.worker.models.transformers_.device import Place
from tests.childkit import running
from tests.daemon.house import HastyDaemon
from tests.daemonkit import RpcError
from tests.pictures import write_photos
from tests.worker.transformers.kit import machine, recipe, resolve

Tiny = Callable[[str], Path]


def edit(folder: Path, name: str, **changes: Any) -> None:
    """Change keys of a JSON file."""
    (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def sharded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def without(*names: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


def huge(folder: Path) -> None:
    """Weights of 8 TB, in a file that takes no place."""
    header = msgspec.json.encode({"w": {"dtype": "F32", "shape": [1 << 41], "data_offsets": [0, 1 << 43]}})
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + (1 << 43))


SPOILT: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("embed", "clip", pickled, "its weights are pickled (pytorch_model.bin)"),
    ("describe", "smolvlm", pickled, "its weights are pickled (pytorch_model.bin)"),
    ("embed", "clip", without("config.json"), "has no config.json"),
    ("embed", "clip", without("model.safetensors"), "has no weights (model.safetensors)"),
    ("describe", "smolvlm", sharded, "model-00002-of-00002.safetensors is missing"),
    ("embed", "clip", without("preprocessor_config.json"), "has no preprocessor_config.json"),
    ("embed", "siglip", without("tokenizer.json"), "has no tokenizer (tokenizer.json)"),
    ("embed_text", "bert", without("tokenizer.json"), "has no tokenizer (tokenizer.json)"),
    ("describe", "smolvlm2", without("chat_template.json"), "no chat template"),
    ("describe", "smolvlm2", cut_short, "was not fetched to its end"),
    ("embed", "clip", lambda f: (f / "model.safetensors").write_bytes(b""), "was not fetched to its end"),
    ("embed", "clip", lambda f: (f / "model.safetensors").write_bytes(bytes(99)), "was not fetched to its end"),
    ("embed", "clip", lambda f: (f / "model.safetensors").write_bytes(b"\x08" + bytes(7) + b"[[[[[[[["), "damaged"),
    ("embed", "clip", lambda f: (f / "config.json").write_text("{"), "config.json cannot be read"),
    ("embed", "clip", lambda f: (f / "config.json").write_text("[]"), "holds no settings"),
    ("embed", "clip", lambda f: (f / "tokenizer.json").write_text("{"), "its tokenizer cannot be read"),
    ("embed", "clip", lambda f: (f / "preprocessor_config.json").write_text("{"), "image processor cannot be read"),
    ("embed", "clip", lambda f: edit(f, "config.json", model_type="clap2"), "does not know its model type 'clap2'"),
    (
        "embed",
        "clip",
        lambda f: edit(f, "config.json", model_type="own", auto_map={"AutoModel": "own.Model"}),
        "its architecture is code in its own folder",
    ),
    ("describe", "llama", lambda f: None, "of the type 'llama', which does not write about pictures"),
    ("describe", "clip", lambda f: None, "of the type 'clip', which does not write about pictures"),
    ("describe", "bert", lambda f: None, "of the type 'bert', which does not write about pictures"),
    ("embed", "smolvlm", lambda f: None, "of the type 'idefics3', which gives no vectors for pictures and texts alike"),
    ("embed", "bert", lambda f: None, "of the type 'bert', which gives no vectors for pictures and texts alike"),
    ("embed_text", "llama", lambda f: None, "of the type 'llama', which gives no vectors for texts"),
    ("embed_text", "smolvlm2", lambda f: None, "of the type 'smolvlm', which gives no vectors for texts"),
    # A processor without a tokenizer's words for pictures, one of another side than its crop: known by a trial picture.
    (
        "describe",
        "qwen",
        lambda f: (f / "chat_template.jinja").write_text("What is it?"),
        "its processor fails on a picture",
    ),
    (
        "embed",
        "siglip",
        lambda f: edit(f, "preprocessor_config.json", image_mean=[1, 2]),
        "its processor fails on pictures",
    ),
    ("describe", "captioner", lambda f: None, "it has no processor that takes a prompt with a picture"),
    ("embed", "clip", huge, "it needs about 5278.1 GB of memory as bfloat16"),
]


@pytest.mark.parametrize(("kind", "name", "spoil", "why"), SPOILT)
def test_a_folder_that_cannot_work_is_refused(
    kind: str,
    name: str,
    spoil: Callable[[Path], object],
    why: str,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One sentence with the step, the folder, the reason and a way on."""
    monkeypatch.setattr(device, "_fast_dtype", lambda _: "bfloat16")
    folder = tmp_path / "model"
    shutil.copytree(tiny(name), folder)
    spoil(folder)
    with pytest.raises(Misconfigured) as caught:
        resolve(kind, folder)
    error = caught.value
    assert why in error.message
    assert error.object == f"the {kind} model {str(folder)!r}"
    assert error.remedy
    assert "\n" not in error.sentence()
    assert len(error.sentence()) < 500


@pytest.mark.parametrize(
    ("kind", "name", "settings", "why"),
    [
        ("embed", "clip", {"prompt": "What is this?"}, "takes no prompt"),
        ("embed", "clip", {"max_tokens": 5}, "takes no max tokens"),
        ("embed_text", "bert", {"temperature": 0.5}, "takes no temperature"),
        ("describe", "smolvlm", {"max_tokens": 0}, "asked for nothing"),
        ("describe", "smolvlm", {"prompt": " "}, "asked for nothing"),
        ("describe", "smolvlm", {"temperature": -1.0}, "asked for nothing"),
        ("describe", "smolvlm", {"prompt": "What is <image>?"}, "fails on a picture and the prompt"),
        ("describe", "llava", {"prompt": "What is it? " * 200}, "the prompt takes"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    kind: str, name: str, settings: dict[str, object], why: str, tiny: Tiny
) -> None:
    """They are told, not ignored."""
    with pytest.raises(Misconfigured) as caught:
        resolve(kind, tiny(name), **settings)
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("wanted", "why"),
    [("cuda", "no CUDA device"), ("cuda:7", "CUDA"), ("mps", "no Metal device"), ("tpu", "no such kind of device")],
)
def test_a_device_that_is_not_here_is_refused(wanted: str, why: str, tiny: Tiny) -> None:
    """Before weights are loaded, with the way on."""
    import torch

    if wanted == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    if wanted == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(Misconfigured) as caught:
        resolve("embed", tiny("clip"), device=wanted)
    assert why in caught.value.message
    assert "--device auto" in caught.value.remedy


def test_memory_is_compared_with_the_weights_in_their_dtype() -> None:
    """A billion parameters fit into 4 GB as bfloat16 and not as float32; the sentence has both figures, and what may
    come right by itself is told from what never will."""
    free, small = (4 * 10**9, 8 * 10**9), (4 * 10**9, 4 * 10**9)
    assert device.check_memory(10**9, Place("cpu", "bfloat16"), free) is None
    needs = "it needs about 5.2 GB of memory as float32, and"
    assert device.check_memory(10**9, Place("cpu", "float32"), free) == (f"{needs} 4.0 GB are free", False)
    assert device.check_memory(10**9, Place("cpu", "float32"), small) == (f"{needs} this machine has 4.0 GB", True)
    short = device.check_memory(10**9, Place("cuda:1", "float32"), free)
    assert short is not None
    assert "GPU memory" in short.words


def test_memory_that_is_taken_just_now_is_waited_for(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that begins while another one's model is loaded waits for it, and does not fail."""
    monkeypatch.setattr(device, "_memory", lambda _: (10**8, 10**12))
    with pytest.raises(Unavailable, match=r"0\.1 GB are free"):
        resolve("embed", tiny("clip"))


def test_weights_that_are_not_all_there_are_never_made_up(tiny: Tiny, tmp_path: Path) -> None:
    """The library would fill a missing tensor with random numbers: a worker refuses before it is ready."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny("clip"), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(WorkerSetup(recipe(resolve("embed", folder)), machine()))
        fatal = child.expect(Fatal)
        assert (fatal.kind, child.wait()) == ("misconfigured", 1)
    assert fatal.message == "1 of its weights are missing or of another shape, such as visual_projection.weight"


def test_a_probe_says_it_and_ends(tiny: Tiny, tmp_path: Path) -> None:
    """Through the process: the second of two models is at fault, and the first brings no answer."""
    shutil.copytree(tiny("smolvlm"), tmp_path / "model")
    pickled(tmp_path / "model")
    requests = [StepRequest("embed", str(tiny("clip"))), StepRequest("describe", str(tmp_path / "model"))]
    with running("ingestd.worker", FromWorker) as child:
        child.expect(Hello)
        child.send(Probe(requests, machine()))
        fatal = child.expect(Fatal)
        assert (fatal.kind, fatal.operation, child.wait()) == ("misconfigured", "load", 1)
    assert "pickled" in fatal.message


def test_a_job_with_such_a_model_is_refused_before_any_item_is_claimed(tiny: Tiny, tmp_path: Path) -> None:
    """The answer is the sentence; nothing was tried."""
    shutil.copytree(tiny("clip"), tmp_path / "model")
    pickled(tmp_path / "model")
    write_photos(tmp_path / "photos", 3)
    with HastyDaemon(tmp_path / "home", {"ingestd.control.verbs.start.SETTLE_S": 60}) as daemon:
        with pytest.raises(RpcError, match="its weights are pickled"):
            daemon.ingest(tmp_path / "photos", describe="none", embed=str(tmp_path / "model"))
        assert daemon.query("SELECT count(*) FROM item WHERE attempts > 0") == [(0,)]
