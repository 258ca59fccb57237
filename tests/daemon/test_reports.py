"""What may be asked about jobs and items, and the verbs that act on single ones: failed, show, retry, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.daemonkit import META, Daemon, RpcError
from tests.pictures import not_an_image, photo, truncated, write_photos


def test_failed_comes_in_pages(shared: Daemon, tmp_path: Path) -> None:
    """Every failed item once, whatever the page; by kind; with its remedy."""
    folder = tmp_path / "broken"
    write_photos(folder, 3)
    for number in range(23):
        (folder / f"text-{number:02}.jpg").write_bytes(not_an_image(number))
    for number in range(4):
        (folder / f"short-{number}.jpg").write_bytes(truncated(number))
    (folder / "empty.jpg").write_bytes(b"")
    job = shared.ingest(folder, **META)
    assert (job["status"], job["counts"]["done"], job["counts"]["failed"]) == ("completed", 3, 28)
    assert job["percent"] == 100
    rows: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = shared.call("failed", job="broken", after=after, limit=5)
        assert page["total"] == 28
        assert len(page["rows"]) <= 5
        rows += page["rows"]
        after = page["next"]
    assert len({row["path"] for row in rows}) == len(rows) == 28
    assert all(row["remedy"] and row["message"] and row["attempts"] == 1 for row in rows)
    only = shared.call("failed", job="broken", kind="corrupt")
    assert (only["total"], {row["kind"] for row in only["rows"]}) == (4, {"corrupt"})
    assert shared.call("summary", job="broken")["failures"] == {"unsupported": 23, "corrupt": 4, "empty": 1}
    for nonsense in ({"limit": 0}, {"limit": -1}, {"limit": 10**9}):
        assert shared.call("failed", job="broken", **nonsense)["rows"]


def test_retry(shared: Daemon, tmp_path: Path) -> None:
    """By kind, by path, or all: they are tried again, attempts go on counting, and a mended file is done."""
    folder = tmp_path / "mended"
    write_photos(folder, 2)
    for name in ("a.jpg", "b.jpg", "copy-of-a.jpg"):
        (folder / name).write_bytes(not_an_image(name == "b.jpg"))
    (folder / "c.jpg").write_bytes(b"")
    shared.ingest(folder, **META)
    assert shared.call("retry", job="mended", kind="corrupt")["retried"] == 0
    assert shared.call("retry", job="mended", kind="empty")["retried"] == 1
    assert shared.call("wait", job="mended")["job"]["counts"]["failed"] == 4
    (folder / "a.jpg").write_bytes(photo(50))
    assert shared.call("retry", job="mended", paths=[str(folder / "a.jpg")])["retried"] >= 1
    job = shared.call("wait", job="mended")["job"]
    assert (job["counts"]["done"], job["counts"]["failed"]) == (3, 3)
    assert shared.call("retry", job="mended")["retried"] == 3
    job = shared.call("wait", job="mended")["job"]
    assert (job["status"], job["counts"]["failed"], len(shared.jsonl(job))) == ("completed", 3, 3)
    (row,) = (row for row in shared.call("failed", job="mended")["rows"] if row["path"].endswith("c.jpg"))
    assert row["attempts"] == 3


def test_show(shared: Daemon, tmp_path: Path) -> None:
    """All that is known of a path, per job; its copies; a path that nobody knows is told so."""
    folder = tmp_path / "shown"
    write_photos(folder / "deep" / "er", 2)
    (folder / "copy.jpg").write_bytes((folder / "deep" / "er" / "photo-00000.jpg").read_bytes())
    shared.ingest(folder, **META)
    shared.ingest(folder / "deep", name="inner", **META)
    path = folder / "deep" / "er" / "photo-00000.jpg"
    items = {item["job"]: item for item in shared.call("show", path=str(path))["items"]}
    assert set(items) == {"shown", "inner"}
    assert items["shown"]["copies"] == [str(folder / "copy.jpg")]
    assert (items["inner"]["copies"], items["inner"]["copies_total"]) == ([], 0)
    item = items["shown"]
    assert (item["state"], item["format"], item["width"], item["height"]) == ("done", "JPEG", 64, 48)
    assert set(item["results"]) == {"meta"}
    assert [one["job"] for one in shared.call("show", path=str(path), job="inner")["items"]] == ["inner"]
    for unknown in (folder / "absent.jpg", Path("/"), Path("relative.jpg")):
        with pytest.raises(RpcError, match="no job knows it"):
            shared.call("show", path=str(unknown))


def test_remove(daemon: Daemon, tmp_path: Path) -> None:
    """Only what rests may go; its rows and stores go, what is the user's or another job's stays, its name is free."""
    folder, mine = tmp_path / "photos", tmp_path / "mine.jsonl"
    write_photos(folder, 20)
    job = daemon.ingest(folder, sinks=["jsonl", f"jsonl:{mine}"], **META)
    other = daemon.ingest(folder, name="other", include=["*1.jpg"], **META)
    store = daemon.home / "state" / "sinks" / job["uuid"]
    assert store.exists()
    removed = daemon.call("remove", job="photos")
    assert (removed["uuid"], removed["freed_items"], removed["kept"]) == (job["uuid"], 20, [str(mine)])
    assert not store.exists()
    assert mine.exists()
    assert [row["name"] for row in daemon.call("status")["jobs"]] == ["other"]
    assert daemon.query("SELECT count(*) FROM result") == [(other["counts"]["done"],)]
    assert daemon.query("SELECT count(*) FROM cursor") == [(1,)]
    with pytest.raises(RpcError, match="no job has that name"):
        daemon.call("remove", job="photos")
    again = daemon.ingest(folder, name="photos", **META)
    assert (again["name"], again["counts"]["done"], again["reused"]) == ("photos", 20, other["counts"]["done"])
    write_photos(tmp_path / "many", 2_000, seed=3)
    daemon.ingest(tmp_path / "many", wait=False, **META)
    daemon.wait_for(lambda: daemon.job("many")["counts"]["done"] > 0)
    with pytest.raises(RpcError, match="it is running") as caught:
        daemon.call("remove", job="many")
    assert "ingestctl stop many" in caught.value.data["remedy"]
    daemon.call("stop", job="many")
    assert daemon.call("remove", job="many")["name"] == "many"
    assert daemon.query("PRAGMA foreign_key_check") == []


def test_status_names_and_places(shared: Daemon, tmp_path: Path) -> None:
    """A job by name, by uuid or by its beginning; a wrong one lists the choices; log and state are where it says."""
    write_photos(tmp_path / "named", 1)
    job = shared.ingest(tmp_path / "named", **META)
    for spelling in ("named", job["uuid"], job["uuid"][:8]):
        assert shared.call("status", job=spelling)["jobs"][0]["uuid"] == job["uuid"]
    with pytest.raises(RpcError, match="no job has that name") as caught:
        shared.call("status", job="nobody")
    assert "named" in caught.value.data["remedy"]
    assert caught.value.data["exit"] == 2
    status = shared.call("status")["daemon"]
    assert (status["pid"], status["home"]) == (shared.pid, str(shared.home / "state"))
    assert Path(status["log"]).exists()
    assert shared.call("logs")["path"] == status["log"]
    assert 0 < status["memory_bytes"] < 200 << 20
    assert status["ledger_bytes"] > 4096
    rows = {row["key"]: row for row in shared.call("config")["rows"]}
    assert rows["workers"] == {"key": "workers", "value": "1", "source": "default"}


def test_verbs_without_jobs(daemon: Daemon, tmp_path: Path) -> None:
    """With no job at all every verb has its sentence and its way on."""
    for verb in ("wait", "summary", "failed", "retry", "pause", "resume", "stop"):
        with pytest.raises(RpcError) as caught:
            daemon.call(verb)
        assert caught.value.data["remedy"], verb
    with pytest.raises(RpcError, match="no job has a store"):
        daemon.call("search", text="anything")
    with pytest.raises(RpcError, match="it is empty"):
        daemon.call("search", text="  ")
    assert daemon.call("status")["jobs"] == []
    write_photos(tmp_path / "photos", 1)
    daemon.ingest(tmp_path / "photos", **META)
    with pytest.raises(RpcError, match="no job has a store"):
        daemon.call("search", text="anything", job="photos")
    empty = tmp_path / "empty"
    empty.mkdir()
    job = daemon.ingest(empty, **META)
    assert (job["status"], job["counts"]["found"], job["percent"]) == ("completed", 0, None)
    assert daemon.call("summary", job="empty")["success_rate"] is None
