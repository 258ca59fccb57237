"""Real checkpoints in miniature through a real daemon: two passes, their order, search before the second is over."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from tests import tinymodels
from tests.daemonkit import Daemon
from tests.pictures import photo
from tests.worker.transformers.test_parity import plain_vectors

COUNT = 12


@pytest.mark.timeout(400)
def test_embeddings_come_first_and_search_does_not_wait(daemon: Daemon, tmp_path: Path) -> None:
    """A description step that takes many times as long: every photo is found before the first is described, each
    step of each photo runs once, and in the end each photo is in its sinks once, whole."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{number:02}.jpg" for number in range(COUNT)]
    for number, path in enumerate(paths):
        path.write_bytes(photo(number, (96, 64)))
    (folder / "torn.jpg").write_bytes(photo(99, (96, 64))[:400])
    clip, describer = tinymodels.clip(tmp_path / "clip"), tinymodels.smolvlm(tmp_path / "smolvlm")
    daemon.call(
        "start", 120, sources=[str(folder)], embed=str(clip), describe=str(describer), max_tokens=150, exact=True,
    )  # fmt: skip

    def steps() -> dict[str, int]:
        return {step["kind"]: step["done"] for step in daemon.job()["steps"]}

    daemon.wait_for(lambda: steps().get("embed") == COUNT, 120)
    assert steps()["describe"] < COUNT, "the describer is not slow enough for this test"
    daemon.wait_for(lambda: "pass 2 of 2 (describe)" in daemon.job()["phase"])
    (group,) = daemon.call("search", 120, like=str(paths[7]), n=1)["groups"]
    assert group["hits"][0]["path"] == str(paths[7])
    assert group["hits"][0]["score"] == pytest.approx(1, abs=1e-3)

    job = daemon.call("wait", 300)["job"]
    assert (job["counts"]["done"], job["counts"]["failed"]) == (COUNT, 1)
    assert {step["kind"]: (step["done"], step["failed"]) for step in job["steps"]} == {
        "meta": (COUNT, 1), "embed": (COUNT, 1), "describe": (COUNT, 1),
    }  # fmt: skip
    at = dict(daemon.query("SELECT step.kind, max(at) FROM result JOIN step ON step.id = step_id GROUP BY kind"))
    ((first,),) = daemon.query("SELECT min(at) FROM result JOIN step ON step.id = step_id WHERE kind = 'describe'")
    assert at["embed"] <= first, "a description was made before the last embedding"
    ((attempts,),) = daemon.query("SELECT max(attempts) FROM item")
    assert attempts == 2, "one claim a pass"
    ((torn,),) = daemon.query("SELECT attempts FROM item WHERE state = 'failed'")
    assert torn == 1, "a file that cannot be decoded is not opened again for the second pass"
    lines = daemon.jsonl(job)
    assert len(lines) == COUNT
    assert all(line["description"] and line["odd"] == "cut" for line in lines.values())
    assert daemon.call("summary")["odd"] == {"cut": COUNT}

    vectors = dict(
        daemon.query("SELECT name, vector FROM item JOIN result USING (content_id) WHERE vector IS NOT NULL")
    )
    plain = plain_vectors(clip, paths)
    for path, wanted in zip(paths, plain, strict=True):
        assert float(numpy.frombuffer(vectors[bytes(path.name, "utf-8")], "<f4") @ wanted) >= 0.9999
