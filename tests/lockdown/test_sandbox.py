"""What each kind of child asks to keep, by its first message: no more than its work needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ingestd.kinds.sinks import SHIPPED
from ingestd.lockdown import DNS, Access, system
from ingestd.protocol.sink import SinkSetup
from ingestd.protocol.walk import Credit, ResolveRoots, RootSpec, WalkerSetup
from ingestd.protocol.work import EncodeSetup, Finish, Machine, Probe, Step, StepRequest, WorkerSetup
from ingestd.sinks.sandbox import access as of_sink
from ingestd.walker.__main__ import access as of_walker
from ingestd.worker.sandbox import access as of_worker, hub_cache

SHM = b"/state/ledger.db-shm"
ENDPOINT = "openai:http://127.0.0.1:8123/v1#model"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    return Machine(str(tmp_path / "scratch"), key_file=str(tmp_path / "key"))


def setup(machine: Machine, **spec: object) -> Access:
    found = of_worker(WorkerSetup([Step(0, "describe", "f", spec)], machine, [b"/photos"]))
    assert found is not None
    return found


def test_a_local_models_worker(machine: Machine, tmp_path: Path) -> None:
    """Its sources, its model with what the links in it lead to, its scratch folder; no port, and no key."""
    folder, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    (folder / "1_Pooling").mkdir(parents=True)
    blobs.mkdir()
    (blobs / "abc").write_bytes(b"weights")
    (folder / "model.safetensors").symlink_to(blobs / "abc")
    (folder / "1_Pooling" / "config.json").symlink_to(blobs / "abc")
    (tmp_path / "dense").mkdir()
    (folder / "2_Dense").symlink_to(tmp_path / "dense")
    found = setup(machine, model="siglip2", folder=str(folder), max_tokens=64)
    assert set(found.read) == {b"/photos", *map(os.fsencode, (folder, blobs / "abc", tmp_path / "dense"))}
    assert found.write == (os.fsencode(machine.cache),)
    assert (found.ports, found.anywhere, found.change) == ((), False, ())
    assert found.cpu_s > setup(machine, model="builtin").cpu_s > 0
    assert os.environ["TMPDIR"].startswith(machine.cache)


def test_an_endpoints_worker(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port, name resolution, the proxy on the way, and the key's file; no other worker reads that."""
    found = setup(machine, model=ENDPOINT)
    assert found.ports == (8123, DNS)
    assert os.fsencode(machine.key_file) in found.read
    monkeypatch.setenv("HTTPS_PROXY", "http://user:word@proxy:3128")
    assert setup(machine, model=ENDPOINT).ports == (3128, 8123, DNS)
    assert os.fsencode(machine.key_file) not in setup(machine, model="builtin").read


def test_a_model_that_has_moved_is_looked_for_in_the_hubs_cache(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for a folder of the user's own that is gone, nowhere."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    gone = str(tmp_path / "gone")
    found = setup(machine, model="siglip2", folder=gone, hub_id="google/siglip2", revision="0" * 40)
    assert os.fsencode(tmp_path / "hf" / "hub") in found.read
    assert setup(machine, model=gone, folder=gone).read == (b"/photos",)


def test_the_hubs_cache_is_found_as_the_hubs_library_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever variable names it: the library itself is asked here."""
    from huggingface_hub import constants

    assert hub_cache(os.environ) == os.path.abspath(constants.HF_HUB_CACHE)


@pytest.mark.parametrize(
    ("models", "ports"),
    [(["builtin", "none", ""], ()), (["/folder", "builtin"], ()), ([ENDPOINT], (8123, DNS)), (["siglip2"], None)],
)
def test_a_probe(machine: Machine, models: list[str], ports: Any) -> None:
    """Has the network only where a model may have to be fetched."""
    found = of_worker(Probe([StepRequest("embed", model) for model in models], machine))
    assert found is not None
    assert (found.anywhere, found.ports) == (True, ports)


def test_an_encoder(machine: Machine) -> None:
    """Reads any picture that it is asked with; writes nothing but scratch and speaks with nobody."""
    found = of_worker(EncodeSetup(Step(0, "embed", "f", {"model": "builtin"}), machine))
    assert found is not None
    assert (found.read, found.write, found.ports) == ((b"/",), (os.fsencode(machine.cache),), ())


def test_a_walker() -> None:
    """Reads everywhere, writes nothing but beside a list and its mark in the ledger's log; no network."""
    walk = WalkerSetup(1, "/state/ledger.db", [RootSpec(1, b"/photos", 0)], [], [], None, None)
    assert of_walker(walk) == Access((b"/",), change=(b"/state/ledger.db-shm",))
    listed = WalkerSetup(1, "/state/ledger.db", [RootSpec(1, b"/", 0)], [], [], None, "/state/spool/a.list")
    assert of_walker(listed) == Access((b"/",), (b"/state/spool",), (b"/state/ledger.db-shm",))
    assert of_walker(ResolveRoots([b"/photos"])) == Access((b"/",))
    assert of_walker(Credit(1)) is None
    assert of_walker(Finish()) is not None


@pytest.mark.parametrize(
    ("kind", "place", "expected"),
    [
        ("jsonl", "/out/photos.jsonl", Access((b"/state",), (b"/out",), (SHM,), attributes=True)),
        ("qdrant", "/state/sinks/u/q", Access((b"/state",), (b"/state/sinks/u",), (SHM,), attributes=True)),
        (
            "qdrant-server",
            "http://127.0.0.1:6399",
            Access((b"/state", b"/key"), (), (SHM,), (6399, DNS)),
        ),
    ],
)
def test_a_sink(kind: str, place: str, expected: Access, machine: Machine) -> None:
    """Reads the ledger; writes where it keeps its output, or speaks with its server, and nothing else."""
    found = of_sink(SinkSetup(1, "u", "job", "/state/ledger.db", kind, place, [], 0, "", 0, "", "/key", SHIPPED[kind]))
    assert found == expected


def test_packages_beside_ours_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pip put us (``--user``, ``--target``) lies what we use as well; beside a checkout lies anything."""
    monkeypatch.setattr(system, "__file__", str(tmp_path / "ingestd" / "lockdown" / "system.py"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert os.fsencode(tmp_path) not in {rule.path for rule in system.everybody()}
    (tmp_path / "ingestd-0.1.0.dist-info").mkdir()
    assert os.fsencode(tmp_path) in {rule.path for rule in system.everybody()}
