"""Real checkpoints in miniature through a real daemon: two passes, their order, search before the second is over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest

from tests import tinymodels
from tests.daemonkit import Daemon
from tests.pictures import photo
from tests.worker.transformers.conftest import BUILDERS
from tests.worker.transformers.kit import LIMIT
from tests.worker.transformers.plain import PROMPT, plain_texts, plain_vectors

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
    stored = dict(daemon.query("SELECT name, vector FROM item JOIN result USING (content_id) WHERE vector IS NOT NULL"))
    for path, wanted in zip(paths, plain_vectors(clip, paths), strict=True):
        assert float(numpy.frombuffer(stored[path.name.encode()], "<f4") @ wanted) >= 0.9999
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


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("embeds", "describes"), [("siglip2", "smolvlm"), ("siglip", "smolvlm2")])
def test_what_a_job_makes_is_what_plain_code_makes(embeds: str, describes: str, daemon: Daemon, tmp_path: Path) -> None:
    """With ``--exact``: greedy descriptions letter by letter, vectors to a cosine of 0.9999; and a batch of the
    worker's is no other than single photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = [folder / f"{number}.jpg" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(photo(number, (64 + 40 * number, 48 + 90 * (number % 3)), quality=90))
    embedder, describer = BUILDERS[embeds](tmp_path / embeds), BUILDERS[describes](tmp_path / describes)
    job = daemon.ingest(
        folder, embed=str(embedder), describe=str(describer), embed_text=str(tinymodels.bert(tmp_path / "bert")),
        exact=True, prompt=PROMPT, max_tokens=LIMIT,
    )  # fmt: skip
    assert job["counts"]["done"] == len(paths)

    def made(kind: str, column: str) -> dict[bytes, bytes]:
        query = "SELECT name, {} FROM item JOIN result USING (content_id) JOIN step ON step.id = step_id WHERE kind = ?"
        return dict(daemon.query(query.format(column), kind))

    vectors, texts = made("embed", "vector"), made("describe", "body")
    for path, wanted in zip(paths, plain_vectors(embedder, paths), strict=True):
        assert float(numpy.frombuffer(vectors[path.name.encode()], "<f4") @ wanted) >= 0.9999
    plain = plain_texts(describer, paths, together=False)
    ended = {path.name.encode(): text for path, text in zip(paths, plain, strict=True) if text is not None}
    assert len(ended) >= 3
    found = {name: json.loads(texts[name])["description"] for name in ended}
    assert found == ended
    (group,) = daemon.call("search", 120, text=next(iter(ended.values())))["groups"]
    assert group["order"] == "rank fusion"
    assert len(group["hits"]) == len(paths)
