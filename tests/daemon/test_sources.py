"""Sources that are absent, wrong, forbidden, or go away; names of any bytes; a sink's disk that is full."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.house import NOT_ROOT, HastyDaemon, defects, needs_permissions
from tests.daemonkit import META, Daemon, RpcError
from tests.pictures import not_an_image, photo, write_photos
from tests.sinks.conftest import SmallDisk, small_disk

__all__ = ["small_disk"]
HASTY = {"ingestd.policy.moves.SOURCE_RETRY_S": 0.3}


def test_sources_that_cannot_be(shared: Daemon, tmp_path: Path) -> None:
    """Absent, a file that is no image, none, relative: a sentence with exit code 2, and no job is left behind."""
    (tmp_path / "notes.txt").write_text("no image")
    before = len(shared.call("status")["jobs"])
    for source, words in (
        (tmp_path / "absent", "there is no such file or folder"),
        (tmp_path / "notes.txt", "without the extension of an image"),
        (tmp_path / "notes.txt" / "below", "there is no such file or folder"),
        (Path("/dev/null"), "neither a folder nor a regular file"),
    ):
        with pytest.raises(RpcError, match=words) as caught:
            shared.call("start", sources=[str(source)], **META)
        assert caught.value.data["exit"] == 2
        assert caught.value.data["object"] == str(source)
        assert caught.value.data["remedy"]
    with pytest.raises(RpcError, match="give folders, or a list of files"):
        shared.call("start", **META)
    assert len(shared.call("status")["jobs"]) == before


@needs_permissions
def test_what_may_not_be_read(tmp_path: Path) -> None:
    """A root that may not be read is refused by name; a folder in it is reported; a file in it fails, by itself."""
    write_photos(tmp_path / "shut", 2)
    write_photos(tmp_path / "open", 2)
    write_photos(tmp_path / "open" / "inner", 2)
    for path in (tmp_path / "shut", tmp_path / "open" / "inner", tmp_path / "open" / "photo-00001.jpg"):
        os.chmod(path, 0)
    with HastyDaemon(tmp_path / "home", {}, NOT_ROOT) as daemon:
        with pytest.raises(RpcError, match="may not read it") as caught:
            daemon.call("start", sources=[str(tmp_path / "shut")], **META)
        assert caught.value.data["exit"] == 2
        job = daemon.ingest(tmp_path / "open", **META)
        assert (job["status"], job["counts"]["done"], job["counts"]["failed"]) == ("completed", 1, 1)
        assert job["scan"]["state"] == "partial"
        assert job["scan"]["errors"][0]["path"] == str(tmp_path / "open" / "inner")
        assert job["last_failure"]["kind"] == "unreadable"
        for path in (tmp_path / "open" / "inner", tmp_path / "open" / "photo-00001.jpg"):
            os.chmod(path, 0o755)
        daemon.call("start", sources=[str(tmp_path / "open")])
        assert daemon.call("wait")["job"]["counts"]["done"] >= 3
        daemon.call("retry")
        assert daemon.call("wait")["job"]["counts"]["done"] == 4
    assert not defects(daemon)


def test_a_root_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """The job waits and says why, nothing is taken for deleted, and it returns by itself, after a restart too."""
    photos, away = tmp_path / "photos", tmp_path / "away"
    write_photos(photos, 20)
    with HastyDaemon(tmp_path / "home", HASTY) as daemon:
        job = daemon.ingest(photos, **META)
        photos.rename(away)
        rescan(daemon, job)
        assert "source offline" in daemon.waiting()["reason"]
        assert daemon.job()["counts"] == job["counts"]
        away.rename(photos)
        write_photos(photos, 3, seed=1, name="new-{}.jpg")
        daemon.wait_for(lambda: daemon.job()["status"] == "completed")
        assert daemon.job()["counts"]["done"] == 23
        photos.rename(away)
        rescan(daemon, job)
        daemon.wait_for(lambda: daemon.job()["status"] == "waiting")
        daemon.end()
        daemon.start()
        daemon.wait_for(lambda: daemon.job()["status"] == "waiting")
        away.rename(photos)
        daemon.wait_for(lambda: daemon.job()["status"] == "completed")
        assert daemon.job()["counts"]["done"] == 23
        assert len(daemon.jsonl(daemon.job())) == 23
    assert not defects(daemon)


def rescan(daemon: Daemon, job: dict[str, Any]) -> None:
    """Ask for a walk of a job whose root cannot be resolved now: by way of the ledger, as a scheduled one would."""
    import sqlite3

    daemon.end()
    db = sqlite3.connect(daemon.home / "state" / "ledger.db")
    db.execute("UPDATE job SET rescan = 1, status = 'queued' WHERE uuid = ?", (job["uuid"],))
    db.commit()
    db.close()
    daemon.start()


def test_a_root_that_vanishes_at_work_costs_nothing(tmp_path: Path) -> None:
    """A disk pulled out while its photos are read: no photo is failed for good, and the job ends by itself."""
    photos, away = tmp_path / "photos", tmp_path / "away"
    write_photos(photos, 1_500)
    with HastyDaemon(tmp_path / "home", HASTY) as daemon:
        daemon.ingest(photos, wait=False, **META)
        daemon.wait_for(lambda: daemon.job()["counts"]["done"] > 50)
        photos.rename(away)
        assert "source offline" in daemon.waiting()["reason"]
        away.rename(photos)
        daemon.wait_for(lambda: daemon.job()["status"] == "completed")
        counts = daemon.job()["counts"]
        assert (counts["done"], counts["failed"]) == (1_500, 0)
    assert not defects(daemon)


@needs_permissions
def test_a_root_that_is_closed_at_work_costs_nothing(tmp_path: Path) -> None:
    """The right to read a root is taken away: its job waits until it is given back. A single file without it fails."""
    photos = tmp_path / "photos"
    paths = write_photos(photos, 1_500)
    os.chmod(paths[700], 0)
    with HastyDaemon(tmp_path / "home", HASTY, NOT_ROOT) as daemon:
        daemon.ingest(photos, wait=False, **META)
        daemon.wait_for(lambda: daemon.job()["counts"]["done"] > 50)
        photos.chmod(0)
        assert re.search("source offline: user .* may not read it", daemon.waiting()["reason"])
        photos.chmod(0o755)
        daemon.wait_for(lambda: daemon.job()["status"] == "completed")
        counts = daemon.job()["counts"]
        assert (counts["done"], counts["failed"]) == (1_499, 1)
    assert not defects(daemon)


# --------------------------------------------------------------------------------------------------------------- names


def test_names_of_any_bytes_survive_to_the_last_output(daemon: Daemon, tmp_path: Path) -> None:
    """A name that is not UTF-8: shown with U+FFFD, its true bytes in ``path_b64``, in every answer and in the JSONL."""
    folder = os.fsencode(tmp_path / "photos") + b"/caf\xe9"
    os.makedirs(folder)
    good, bad = folder + b"/\xff\xfe.jpg", folder + b"/bad\n\x80'\".jpg"
    Path(os.fsdecode(good)).write_bytes(photo(1))
    Path(os.fsdecode(bad)).write_bytes(not_an_image())
    job = daemon.ingest(tmp_path / "photos", **META)
    assert (job["status"], job["counts"]["done"], job["counts"]["failed"]) == ("completed", 1, 1)

    def checked(reply: dict[str, Any], path: bytes) -> None:
        assert base64.b64decode(reply["path_b64"]) == path
        assert reply["path"] == path.decode("utf-8", "replace")

    checked(job["last_items"][0], good)
    checked(job["last_failure"], bad)
    (failed,) = daemon.call("failed")["rows"]
    checked(failed, bad)
    for path, state in ((good, "done"), (bad, "failed")):
        (item,) = daemon.call("show", path={"b64": base64.b64encode(path).decode()})["items"]
        checked(item, path)
        assert item["state"] == state
    (line,) = daemon.jsonl(job).values()
    assert line["paths"] == [good.decode("utf-8", "replace")]
    assert base64.b64decode(line["path_b64"]["0"]) == good
    Path(os.fsdecode(bad)).write_bytes(photo(2))
    retried = daemon.call("retry", paths=[{"b64": base64.b64encode(bad).decode()}])
    assert retried["retried"] == 1
    assert daemon.call("wait")["job"]["counts"]["done"] == 2
    named = daemon.call("start", sources=[{"b64": base64.b64encode(folder).decode()}], **META)["job"]
    assert daemon.call("wait", job=named["name"])["job"]["counts"]["done"] == 2
    assert all(line == line.encode("utf-8", "replace").decode() for line in daemon.log())


# --------------------------------------------------------------------------------------------------------------- sinks


def test_a_full_disk_of_the_jsonl_sink(daemon: Daemon, tmp_path: Path, small_disk: SmallDisk) -> None:
    """Computing goes on to its end; the job waits for the sink, says why, and ends by itself when there is room."""
    # The small disk is seen through another process's root, and no locked process looks into another one.
    daemon.end()
    daemon.env["INGESTD_LOCKDOWN"] = "no"
    daemon.start()
    write_photos(tmp_path / "photos", 600)
    place = small_disk.folder / "x.jsonl"
    daemon.call("start", sources=[str(tmp_path / "photos")], sinks=[f"jsonl:{place}"], **META)
    daemon.wait_for(lambda: daemon.job()["status"] == "waiting")
    job = daemon.job()
    assert job["counts"]["done"] == 600
    daemon.wait_for(lambda: daemon.job()["sinks"][0]["state"] == "trouble")
    (sink,) = daemon.job()["sinks"]
    assert "disk full" in sink["message"]
    assert 0 < sink["lag"] <= 600
    assert daemon.job()["phase"].startswith(f"waiting for the sink {sink['name']}: "), "what --follow shows"
    small_disk.resize("4m")
    daemon.wait_for(lambda: daemon.job()["status"] == "completed")
    assert len(daemon.jsonl(daemon.job())) == 600


def test_a_sinks_place_that_cannot_be(shared: Daemon, tmp_path: Path) -> None:
    """A folder that is not there fails the job in words; after it is made, the same start goes on."""
    write_photos(tmp_path / "photos", 3)
    place = tmp_path / "out" / "x.jsonl"
    with pytest.raises(RpcError, match="folder does not exist") as caught:
        shared.call("start", sources=[str(tmp_path / "photos")], sinks=[f"jsonl:{place}"], **META)
    assert caught.value.data["exit"] == 1
    place.parent.mkdir()
    job = shared.ingest(tmp_path / "photos", sinks=[f"jsonl:{place}"], **META)
    assert job["status"] == "completed"
    assert len(place.read_bytes().splitlines()) == 3


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sinks": ["csv"]}, "no sink of this kind"),
        ({"sinks": ["jsonl:relative.jsonl"]}, "not absolute"),
        ({"sinks": ["qdrant"], **META}, "no vectors"),
        ({"batch_size": 0, **META}, "--batch-size is 0"),
        ({"workers": 65, **META}, "--workers is 65"),
        ({"cooldown": "soon", **META}, "--cooldown is soon"),
        ({"limit": 0, **META}, "--limit is 0"),
    ],
)
def test_requests_that_cannot_be(shared: Daemon, params: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Refused in words before anything is made: the mended command meets no leftover."""
    _refused(shared, tmp_path / "photos", words, **params)


def test_a_model_that_cannot_be(tmp_path: Path) -> None:
    """The same, for what a child has to find out first: ``start`` waits a moment for it."""
    with HastyDaemon(tmp_path / "home", {"ingestd.control.verbs.start.SETTLE_S": 60}) as daemon:
        _refused(daemon, tmp_path / "photos", "no/such-model", describe="no/such-model", embed="none")


def _refused(daemon: Daemon, photos: Path, words: str, **params: Any) -> None:
    write_photos(photos, 1)
    with pytest.raises(RpcError) as caught:
        daemon.call("start", sources=[str(photos)], name="wrong", **params)
    told = json.dumps([str(caught.value), caught.value.data])
    assert words in told
    assert caught.value.data["remedy"]
    assert not [job for job in daemon.call("status")["jobs"] if job["name"] == "wrong"]
