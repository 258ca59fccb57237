"""What neither works nor ends, and a disk that takes nothing: a person's wish has its effect, or its sentence."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.house import HastyDaemon, defects
from tests.daemonkit import META, Daemon, RpcError
from tests.needs import needs
from tests.pictures import write_photos


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[HastyDaemon]:
    """A daemon that does not wait long for anybody."""
    deadlines = "ingestd.policy.deadlines"
    waits = {f"{deadlines}.WALK_END_S": 0.5, f"{deadlines}.DRAIN_S": 0.5, "ingestd.control.full_disk.STUCK_S": 0.3}
    with HastyDaemon(tmp_path / "home", waits | {"ingestd.supervisor.loop.CLOSE_S": 1.0}) as daemon:
        yield daemon


def test_a_pause_does_not_wait_for_a_walker_that_hangs(hasty: HastyDaemon, tmp_path: Path) -> None:
    """As on a dead mount: it is asked, then ended; the job owes its walk, and the next one pays."""
    (tmp_path / "photo").mkdir()
    path = write_photos(tmp_path / "photo", 1)[0]
    pipe = tmp_path / "files.list"
    os.mkfifo(pipe)
    name = hasty.call("start", list_file=str(pipe), list_sha256="0" * 64, **META)["job"]["name"]
    hasty.wait_for(lambda: bool(hasty.children("walker")))
    assert hasty.call("pause", 20)["jobs"][0]["status"] == "paused"
    assert hasty.children("walker") == []
    pipe.unlink()
    pipe.write_bytes(bytes(path) + b"\n")
    hasty.call("resume")
    assert hasty.call("wait", job=name)["job"]["counts"]["done"] == 1
    assert not defects(hasty)


def test_a_sink_that_hangs_does_not_keep_its_job_from_going(hasty: HastyDaemon, tmp_path: Path) -> None:
    """``remove`` ends it, and returns."""
    write_photos(tmp_path / "photos", 5)
    name = hasty.ingest(tmp_path / "photos", **META)["name"]
    (sink,) = hasty.children("sinks")
    sink.suspend()
    assert hasty.call("remove", 20, job=name)["freed_items"] == 5
    assert not sink.is_running() or sink.status() == psutil.STATUS_ZOMBIE
    assert hasty.call("status")["jobs"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="a process's limits are set from outside")
def test_a_ledger_that_cannot_be_written_is_said_and_does_not_keep_the_daemon(
    hasty: HastyDaemon, tmp_path: Path
) -> None:
    """Verbs that change something say so instead of waiting; a shutdown ends all the same; nothing is lost by it."""
    write_photos(tmp_path / "photos", 2_000)
    hasty.call("start", sources=[str(tmp_path / "photos")], **META)
    hasty.wait_for(lambda: hasty.job()["counts"]["done"] > 200)
    psutil.Process(hasty.pid).rlimit(psutil.RLIMIT_FSIZE, (50_000, psutil.RLIM_INFINITY))
    hasty.wait_for(lambda: bool(hasty.call("status")["daemon"]["trouble"]))
    for verb, params in (("pause", {}), ("retry", {}), ("start", {"sources": [str(tmp_path / "photos")]})):
        with pytest.raises(RpcError, match="cannot be written") as caught:
            hasty.call(verb, 20, **params)
        assert caught.value.data["exit"] == 5
        assert "space" in caught.value.data["remedy"]
    assert hasty.job()["status"] == "paused", "it has its effect, and is not stored"
    assert hasty.process is not None
    hasty.process.terminate()
    assert hasty.process.wait(30) == 0
    hasty.start()
    hasty.call("resume")
    job = hasty.call("wait")["job"]
    assert (job["status"], job["counts"]["done"], len(hasty.jsonl(job))) == ("completed", 2_000, 2_000)
    assert hasty.query("PRAGMA quick_check") == [("ok",)]


def test_what_is_asked_beside_a_removal(daemon: Daemon, tmp_path: Path) -> None:
    """A job that is being removed is none any more: each request gets a sentence, and a start makes a new job."""
    folder = tmp_path / "photos"
    write_photos(folder, 1_200)
    first = daemon.ingest(folder, workers=2, **META)
    replies: list[tuple[str, Any]] = []

    def ask(verb: str, **params: Any) -> None:
        try:
            replies.append((verb, daemon.call(verb, **params)))
        except RpcError as error:
            replies.append((verb, error))

    verbs = ["remove", "remove", "retry", "pause", "wait", "summary", "failed"]
    threads = [threading.Thread(target=ask, args=(verb,), kwargs={"job": "photos"}) for verb in verbs]
    threads += [threading.Thread(target=ask, args=("start",), kwargs={"sources": [str(folder)], **META})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(replies) == len(threads)
    for verb, reply in replies:
        if isinstance(reply, RpcError):
            assert any(text in str(reply) for text in ("no job has that name", "removed", "it is ")), (verb, str(reply))
    last = daemon.ingest(folder, **META)
    assert (last["status"], last["counts"]["done"]) == ("completed", 1_200)
    if sum(verb == "remove" and not isinstance(reply, RpcError) for verb, reply in replies):
        assert last["uuid"] != first["uuid"]
        assert not (daemon.home / "state" / "jobs" / f"{first['uuid']}.json").exists()
        assert not (daemon.home / "state" / "sinks" / first["uuid"]).exists()


@needs("prlimit", "a full disk at the start")
def test_a_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    """It has no socket yet to say it on, so it ends with its sentence; with space again it goes on where it was."""
    write_photos(tmp_path / "photos", 1_000)
    with Daemon(tmp_path / "home") as killed:
        killed.call("start", sources=[str(tmp_path / "photos")], **META)
        killed.wait_for(lambda: killed.job()["counts"]["done"] > 100)
        killed.kill()
    full = HastyDaemon(killed.home, {"ingestd.daemon.OPEN_S": 0.3}, ["prlimit", "--fsize=50000:", "--"])
    with pytest.raises(AssertionError, match=r"(?s)exited with 75.*cannot begin with the ledger.*Free some space"):
        full.start()
    with Daemon(tmp_path / "home") as again:
        assert again.call("wait")["job"]["counts"]["done"] == 1_000
