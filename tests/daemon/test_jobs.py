"""Several jobs, and what a request may say: turns, workers, batches, limits, lists, filters, sinks."""

from __future__ import annotations

import hashlib
import json
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.house import Wire
from tests.daemonkit import META, Daemon, RpcError
from tests.pictures import write_photos


def test_one_job_computes_at_a_time_by_age(daemon: Daemon, tmp_path: Path) -> None:
    """The oldest first; a paused one gives way and takes its turn again; all complete."""
    for name in ("first", "second", "third"):
        write_photos(tmp_path / name, 600)
    for name in ("first", "second", "third"):
        reply = daemon.call("start", sources=[str(tmp_path / name)], **META)
    assert any("waits its turn" in note for note in reply["notes"])

    def statuses() -> dict[str, str]:
        return {job["name"]: job["status"] for job in daemon.call("status")["jobs"]}

    assert statuses() == {"first": "running", "second": "queued", "third": "queued"}
    with pytest.raises(RpcError, match="several jobs are active") as caught:
        daemon.call("pause")
    assert "first" in caught.value.data["remedy"]
    daemon.call("pause", job="first")
    daemon.wait_for(lambda: statuses()["second"] == "running")
    daemon.call("resume", job="first")
    seen = set()

    def over() -> bool:
        now = statuses()
        seen.add(sum(status == "running" for status in now.values()))
        return set(now.values()) == {"completed"}

    daemon.wait_for(over)
    assert seen <= {0, 1}
    ended = {
        job: daemon.query(
            "SELECT max(ended) FROM batch JOIN job ON job.id = batch.job_id WHERE job.name = ?", job
        )[0][0]
        for job in ("first", "second", "third")
    }  # fmt: skip
    assert max(ended, key=lambda job: ended[job]) == "third"


def test_workers_batches_and_cooldown(daemon: Daemon, tmp_path: Path) -> None:
    """``--workers 3`` is three processes at once; a batch is one process and ten items; they rest between."""
    write_photos(tmp_path / "wide", 1_500)
    daemon.call("start", sources=[str(tmp_path / "wide")], workers=3, **META)
    daemon.wait_for(lambda: len({worker["pid"] for worker in daemon.job()["workers"] if worker["window"]}) == 3)
    assert daemon.call("wait")["job"]["counts"]["done"] == 1_500
    write_photos(tmp_path / "small", 60, seed=1)
    daemon.ingest(tmp_path / "small", batch_size=10, name="small", **META)
    rows = daemon.query(
        "SELECT items, pid, outcome FROM batch WHERE job_id = (SELECT id FROM job WHERE name = 'small')"
    )
    assert [items for items, _, _ in rows] == [10] * 6
    assert len({pid for _, pid, _ in rows}) == 6
    assert {outcome for _, _, outcome in rows} == {"ended"}
    write_photos(tmp_path / "cool", 30, seed=2)
    daemon.ingest(tmp_path / "cool", batch_size=10, cooldown="0.5", name="cool", wait=False, **META)
    daemon.wait_for(lambda: daemon.job("cool")["phase"] == "cooling down")
    daemon.call("wait", job="cool")
    rows = daemon.query(
        "SELECT started, ended FROM batch WHERE job_id = (SELECT id FROM job WHERE name = 'cool') ORDER BY id"
    )
    assert len(rows) == 3
    assert all(later[0] - earlier[1] >= 450 for earlier, later in pairwise(rows))


def test_a_limit_and_going_on_without_it(daemon: Daemon, tmp_path: Path) -> None:
    """``--limit`` ends early and says so; a higher one and none go on with the same job."""
    write_photos(tmp_path / "photos", 40)
    job = daemon.ingest(tmp_path / "photos", limit=10, **META)
    assert (job["counts"]["found"], job["scan"]["state"], job["limit"]) == (10, "limited", 10)
    again = daemon.ingest(tmp_path / "photos", limit=10, **META)
    assert (again["uuid"], again["counts"]["found"]) == (job["uuid"], 10)
    assert daemon.ingest(tmp_path / "photos", limit=25, **META)["counts"]["done"] == 25
    notes = daemon.call("start", sources=[str(tmp_path / "photos")], **META)["notes"]
    assert any("limit of 25 items is lifted" in note for note in notes)
    job = daemon.call("wait", 60, job=job["name"])["job"]
    assert (job["counts"]["done"], job["scan"]["state"], job["limit"]) == (40, "complete", None)
    assert len(daemon.jsonl(job)) == 40


@pytest.mark.parametrize("nul", [False, True])
def test_a_list_of_files(nul: bool, shared: Daemon, tmp_path: Path) -> None:
    """A spooled list, newline or NUL between its paths, is a job of its own; the same list finds it again."""
    paths = write_photos(tmp_path / "photos", 6)
    if nul:
        paths[0] = paths[0].rename(tmp_path / "photos" / "new\nline.jpg")
    end = b"\0" if nul else b"\n"
    data = b"".join(bytes(path) + end for path in paths[:4])
    spool = shared.home / "state" / "spool"
    spool.mkdir(exist_ok=True)
    file = spool / f"list.{'nul' if nul else 'list'}"
    file.write_bytes(data)
    request = {"list_file": str(file), "list_sha256": hashlib.sha256(data).hexdigest(), **META}
    first = shared.call("start", **request)
    job = shared.call("wait", job=first["job"]["name"])["job"]
    assert job["name"] == f"list-{hashlib.sha256(data).hexdigest()[:8]}"
    assert (job["status"], job["counts"]["done"]) == ("completed", 4)
    assert {path for line in shared.jsonl(job).values() for path in line["paths"]} == {str(path) for path in paths[:4]}
    again = shared.call("start", **request)
    assert (again["outcome"], again["job"]["uuid"]) == ("rescanning", job["uuid"])


def test_filters(shared: Daemon, tmp_path: Path) -> None:
    """``--include`` and ``--exclude`` choose; after a change, what falls out is gone and what falls in is done."""
    folder = tmp_path / "filtered"
    write_photos(folder / "in", 5)
    write_photos(folder / "out", 5, seed=2)
    job = shared.ingest(folder, exclude=["out"], **META)
    assert job["counts"]["done"] == 5
    assert set(job["scan"]["skipped"]) == {"excluded"}
    job = shared.ingest(folder, exclude=[], include=["*-00001.jpg"])
    lines = shared.jsonl(job)
    assert sorted(path for line in lines.values() for path in line["paths"]) == [
        str(folder / "in" / "photo-00001.jpg"), str(folder / "out" / "photo-00001.jpg")
    ]  # fmt: skip
    assert (job["counts"]["done"], job["counts"]["gone"]) == (2, 4)
    (note,) = shared.call("start", sources=[str(folder)], include=["*-00002.jpg"])["notes"]
    assert "--include of this job is now *-00002.jpg (it was *-00001.jpg)" in note
    shared.call("wait", job=job["name"])
    assert shared.call("start", sources=[str(folder)], include=["*-00002.jpg"])["notes"] == []
    shared.call("wait", job=job["name"])


def test_a_second_start_finds_its_job(shared: Daemon, tmp_path: Path) -> None:
    """By its set of folders or its name; other spellings of a folder are that folder; steps may not change."""
    folder = tmp_path / "found again"
    write_photos(folder, 4)
    write_photos(tmp_path / "else", 2, seed=1)
    job = shared.ingest(folder, **META)
    assert job["name"] == "found-again"
    (tmp_path / "link").symlink_to(folder)
    for spelling in (folder, tmp_path / "link", folder / ".." / "found again" / "."):
        reply = shared.call("start", sources=[str(spelling)])
        assert reply["job"]["uuid"] == job["uuid"], "flags that were not given are not compared"
        shared.call("wait", job=job["name"])
    with pytest.raises(RpcError, match="--embed builtin was asked") as caught:
        shared.call("start", sources=[str(folder)], embed="builtin")
    assert "--name" in caught.value.data["remedy"]
    for given, words in (
        ({"seed": 3}, "--seed 3 was asked, but the job was made without it"),
        ({"passes": 2}, "with 1"),
    ):
        with pytest.raises(RpcError, match=words):
            shared.call("start", sources=[str(folder)], **given)
    assert shared.call("start", sources=[str(folder)], passes=1, exact=False)["job"]["uuid"] == job["uuid"]
    shared.call("wait", job=job["name"])
    with pytest.raises(RpcError, match="other sources"):
        shared.call("start", sources=[str(tmp_path / "else")], name="found-again", **META)
    both = shared.ingest(tmp_path / "else", folder, **META)
    assert both["counts"]["found"] == 6
    assert shared.ingest(folder, tmp_path / "else")["uuid"] == both["uuid"], "a set has no order"


def test_a_start_goes_on_with_a_job_that_is_paused_beside_it(daemon: Daemon, tmp_path: Path) -> None:
    """Whatever a pause on its way finds: the start that came after it has the last word."""
    folder = tmp_path / "photos"
    write_photos(folder, 400)
    daemon.call("start", sources=[str(folder)], **META)
    for _ in range(10):
        with Wire(daemon) as one, Wire(daemon) as two:
            one.ask("start", sources=[str(folder)])
            two.ask("pause", job="photos")
            one.line(), two.line()
        assert daemon.call("start", sources=[str(folder)])["job"]["status"] != "paused"
    assert daemon.call("wait")["job"]["counts"]["done"] == 400


def test_a_folder_named_twice_is_one(shared: Daemon, tmp_path: Path) -> None:
    """Also where one of two folders lies in the other: each file is one item."""
    write_photos(tmp_path / "twice" / "in", 3)
    job = shared.ingest(tmp_path / "twice", tmp_path / "twice", **META)
    assert (job["sources"], job["counts"]["found"]) == ([str(tmp_path / "twice")], 3)
    assert shared.ingest(tmp_path / "twice", **META)["uuid"] == job["uuid"]
    job = shared.ingest(tmp_path / "twice", tmp_path / "twice" / "in", **META)
    assert job["counts"]["found"] == 3


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31mred", "n" * 201])
def test_a_name_that_no_line_could_show_is_refused(name: str, shared: Daemon, tmp_path: Path) -> None:
    with pytest.raises(RpcError, match="cannot be printed"):
        shared.call("start", sources=[str(tmp_path)], name=name, **META)


def test_many_clients_start_one_folder_at_once(daemon: Daemon, tmp_path: Path) -> None:
    """Ten equal requests at once are one job."""
    write_photos(tmp_path / "wanted", 50)
    replies: list[dict[str, Any]] = []

    def ask() -> None:
        replies.append(daemon.call("start", sources=[str(tmp_path / "wanted")], **META))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(replies) == 10
    assert len({reply["job"]["uuid"] for reply in replies}) == 1
    assert len(daemon.call("status")["jobs"]) == 1
    assert daemon.call("wait")["job"]["counts"]["done"] == 50


def test_a_start_during_the_walk_is_honoured(daemon: Daemon, tmp_path: Path) -> None:
    """Files that come and settings that change behind a walk's back are seen by the walk that the second start owes."""
    folder = tmp_path / "photos"
    write_photos(folder / "a", 1_000)
    write_photos(folder / "b", 1_000, seed=1)
    daemon.call("start", sources=[str(folder)], limit=1_500, **META)
    for number in range(5):
        write_photos(folder / "a", 1, seed=100 + number, name=f"late-{number}-{{}}.jpg")
        daemon.call("start", sources=[str(folder)])
    job = daemon.call("wait")["job"]
    assert (job["status"], job["counts"]["done"], job["scan"]["state"]) == ("completed", 2_005, "complete")


def test_sinks_may_change(daemon: Daemon, tmp_path: Path) -> None:
    """A sink that a later start adds gets everything; one that it leaves out is ended, its file stays as it was."""
    folder = tmp_path / "photos"
    write_photos(folder, 30)
    daemon.ingest(folder, **META)
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    job = daemon.ingest(folder, sinks=[f"jsonl:{one}", f"jsonl:{two}"])
    assert [sink["lag"] for sink in job["sinks"]] == [0, 0]
    assert len(one.read_bytes().splitlines()) == len(two.read_bytes().splitlines()) == 30
    write_photos(folder, 5, seed=2, name="new-{}.jpg")
    job = daemon.ingest(folder, sinks=[f"jsonl:{two}"])
    assert (len(one.read_bytes().splitlines()), len(two.read_bytes().splitlines())) == (30, 35)
    daemon.wait_for(lambda: len(daemon.children("sinks")) <= 1)
    with pytest.raises(RpcError, match="no vectors"):
        daemon.call("start", sources=[str(folder)], sinks=["qdrant"])
    daemon.end()
    daemon.start()
    assert [sink["name"] for sink in daemon.job()["sinks"]] == [f"jsonl:{two}"]
    assert json.loads(one.read_bytes().splitlines()[0])["id"] in {
        json.loads(line)["id"] for line in two.read_bytes().splitlines()
    }
