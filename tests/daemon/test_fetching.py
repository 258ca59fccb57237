"""A job whose model is not on this machine: the daemon fetches it from a hub on loopback, even through a kill."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.worker.models.hub.kinds import kinds_of
from ingestd.worker.models.hub.store import what_is_wrong
from tests import hubkit, tinymodels
from tests.daemon.house import HastyDaemon
from tests.daemonkit import Daemon, RpcError
from tests.pictures import photo

ID = "google/siglip2-base-patch16-224"
WEIGHTS = "model.safetensors"


@pytest.fixture
def served() -> Iterator[hubkit.Hub]:
    with hubkit.hub() as served:
        yield served


@pytest.mark.timeout(300)
def test_a_job_fetches_its_model_through_a_kill_of_the_daemon(served: hubkit.Hub, tmp_path: Path) -> None:
    """``status`` says what is fetched; after kill -9 the next daemon asks for the rest alone, and the job ends well
    with its step bound to the commit."""
    tiny = tinymodels.siglip2(tmp_path / "tiny")
    files = {path.name: path.read_bytes() for path in tiny.iterdir()}
    commit = served.publish(ID, files)
    served.faults = hubkit.Faults(gate=threading.Event())
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"{number}.jpg").write_bytes(photo(number, (96, 64)))
    env = {"HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    with Daemon(tmp_path / "home", env) as daemon:
        daemon.call("start", 120, sources=[str(photos)], embed="siglip2", describe="none")
        daemon.wait_for(lambda: "fetching siglip2" in daemon.job()["phase"], 120)
        daemon.wait_for(lambda: served.sent(WEIGHTS) > 0, 60)
        daemon.kill()
        assert not (tmp_path / "hf" / "hub" / f"models--{ID.replace('/', '--')}" / "snapshots").exists()
        assert served.faults.gate is not None
        served.faults.gate.set()
        served.faults = hubkit.Faults()
        daemon.start()
        job = daemon.call("wait", 200, job=daemon.job()["name"])["job"]
        assert job["status"] == "completed", job
        assert job["counts"]["done"] == 3
        ((spec, provenance),) = daemon.query("SELECT spec, provenance FROM step WHERE kind = 'embed'")
    assert json.loads(spec)["revision"] == commit
    seen = json.loads(provenance)["embed"]
    assert (seen["hub_id"], seen["revision"]) == (ID, commit)
    assert seen["weights"] == hashlib.sha256(files[WEIGHTS]).hexdigest()
    assert served.asked(WEIGHTS)[-1].range is not None
    assert served.sent(WEIGHTS) < 2 * len(files[WEIGHTS])


@pytest.mark.timeout(300)
def test_a_hub_that_has_no_such_model_is_said_at_once(served: hubkit.Hub, tmp_path: Path) -> None:
    """Only a person's change will help: ``start`` waits a moment and answers in the hub's words, no item is claimed."""
    served.publish(ID, {})
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "1.jpg").write_bytes(photo(1, (96, 64)))
    env = {"HF_ENDPOINT": served.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    with HastyDaemon(tmp_path / "home", {"ingestd.control.verbs.start.SETTLE_S": 60}, env=env) as daemon:
        with pytest.raises(RpcError, match="has no model google/siglip2-base-patch16-225") as raised:
            daemon.call("start", 120, sources=[str(photos)], embed="google/siglip2-base-patch16-225", describe="none")
        assert f"Did you mean {ID}" in str(raised.value)
        assert all(job["counts"]["done"] == job["counts"]["running"] == 0 for job in daemon.call("status")["jobs"])


def test_the_models_that_are_built_here_count_as_whole(tmp_path: Path) -> None:
    """What transformers saves is what a fetched folder is held against, for each kind of model."""
    built = {
        tinymodels.clip(tmp_path / "clip"): ["embed"],
        tinymodels.siglip(tmp_path / "siglip"): ["embed"],
        tinymodels.siglip2(tmp_path / "siglip2"): ["embed"],
        tinymodels.smolvlm(tmp_path / "smolvlm"): ["describe"],
        tinymodels.smolvlm2(tmp_path / "smolvlm2"): ["describe"],
    }
    assert {folder.name: what_is_wrong(folder) for folder in built} == {folder.name: None for folder in built}
    assert {folder.name: kinds_of(folder) for folder in built} == {
        folder.name: kinds for folder, kinds in built.items()
    }
