"""What ``doctor`` sees of a model without loading it: whole, cut, not here, served, or none that could be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ingestd.protocol.doctor import Looked, ModelAsk
from ingestd.protocol.work import Machine
from ingestd.worker.doctor_main import _endpoint, _on_this_machine, looked
from tests import hubkit
from tests.endpointkit import serving

ID = "google/siglip2-base-patch16-224"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a state of the test's own, and a hub that may be asked."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("INGESTD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


def look(model: str, kind: str = "embed", **known: str) -> Looked:
    ask = ModelAsk(kind, model, Machine("", device="cpu"), True, **known)
    return looked(0, ask, _endpoint if model.startswith("openai:") else _on_this_machine)


def lay(folder: Path, *without: str) -> Path:
    """A model's files, as far as they are needed."""
    for name, content in hubkit.clip(4_000).items():
        if name not in without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


def test_a_folder(tmp_path: Path) -> None:
    """Whole: with what it takes of memory in its numbers; each thing that lacks is named."""
    folder = lay(tmp_path / "clip")
    whole = look(str(folder))
    assert (whole.level, f"in {folder}, runs in float32" in whole.finding) == ("ok", True), whole
    assert whole.memory > 4_000
    assert whole.libraries > 0
    with open(folder / "model.safetensors", "r+b") as weights:
        weights.truncate(2_000)
    cut = look(str(folder))
    assert (cut.level, "damaged or was not fetched to its end" in cut.finding) == ("fail", True)
    assert "no tokenizer" in look(str(lay(tmp_path / "a", "tokenizer.json"))).finding
    assert "no preprocessor_config.json" in look(str(lay(tmp_path / "b", "preprocessor_config.json"))).finding
    assert "pickled" in look(str(lay(tmp_path / "c", "model.safetensors"))).finding
    assert "there is no folder" in look("/old/name", folder=str(tmp_path / "moved")).finding


def test_a_model_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not here: a job may fetch it, unless that is forbidden or a job was resolved to it; half here; here."""
    absent = look("siglip2")
    assert (absent.level, "the job fetches it first (about 1,500 MB)" in absent.finding) == ("warn", True)
    assert "ingestctl models pull siglip2" in absent.remedy
    resolved = look("siglip2", hub_id=ID, revision=COMMIT, folder="/gone")
    assert (resolved.level, f"pull {ID}@{COMMIT}" in resolved.remedy) == ("fail", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert (look("siglip2").level, look("mistyped").level) == ("fail", "fail")
    repo = tmp_path / "hf" / "hub" / "models--google--siglip2-base-patch16-224"
    snapshot = lay(repo / "snapshots" / COMMIT, "model.safetensors")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    (repo / "blobs").mkdir()
    (repo / "blobs" / "x.incomplete").write_bytes(b"\0" * 5_000_000)
    half = look("siglip2")
    assert "it has no weights in the safetensors format, 5 MB of it are fetched" in half.finding
    lay(snapshot)
    assert look("siglip2").level == "ok"
    assert look("siglip2", hub_id=ID, revision=COMMIT, folder="/moved/elsewhere").level == "ok"
    assert not (tmp_path / "home").exists(), "a look pins nothing"


@pytest.mark.parametrize("kind", ["embed", "describe", "embed_text"])
def test_builtin(kind: str) -> None:
    """It ships with the package: its weights are there."""
    found = look("builtin", kind)
    assert (found.level, "ships with ingestd" in found.finding) == ("ok", True), found


def test_an_endpoint() -> None:
    """It answers and serves the model; it serves others; it wants a key; it is away."""
    with serving(names=("tiny", "other")) as endpoint:
        well = look(endpoint.name, "describe")
        assert (well.level, "answers and serves tiny" in well.finding) == ("ok", True), well
        other = look(endpoint.name.replace("#tiny", "#huge"), "describe")
        assert (other.level, "it has no model 'huge'" in other.finding) == ("fail", True)
        assert not endpoint.asks, "no picture is sent for a look"
        endpoint.key = "secret-of-the-endpoint"
        assert look(endpoint.name, "describe").level == "fail"
    away = look(endpoint.name, "describe")
    assert (away.level, "no connection" in away.finding) == ("fail", True), away


def test_nothing_heavy_is_loaded() -> None:
    """A look costs no seconds of imports."""
    code = (
        "import sys, ingestd.worker.doctor_main; print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done
