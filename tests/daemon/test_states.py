"""Pause, resume, stop, shutdown: each has taken effect when its reply comes, and each may be repeated."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.house import Wire, defects
from tests.daemonkit import META, Daemon, RpcError
from tests.pictures import write_photos

MANY = 1_500


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that takes some seconds."""
    folder = tmp_path_factory.mktemp("many") / "many"
    write_photos(folder, MANY)
    return folder


def begun(daemon: Daemon, folder: Path, **params: Any) -> dict[str, Any]:
    """Start a job and wait until it has done something."""
    job = daemon.ingest(folder, wait=False, **META, **params)
    daemon.wait_for(lambda: daemon.job(job["name"])["counts"]["done"] > 0)
    return job


def test_pause_resume_stop(many: Path, daemon: Daemon) -> None:
    """No worker lives when ``pause`` answers; repeating changes nothing; stop is final and its name free again."""
    begun(daemon, many)
    (paused,) = daemon.call("pause", actor="me")["jobs"]
    assert daemon.children("worker") == []
    assert daemon.children("walker") == []
    assert (paused["status"], paused["changed"]) == ("paused", True)
    job = daemon.job()
    assert (job["status"], job["actor"], job["counts"]["running"]) == ("paused", "me", 0)
    assert 0 < job["counts"]["done"] < MANY
    assert daemon.call("pause")["jobs"][0]["changed"] is False
    daemon.end()
    daemon.start()
    assert (daemon.job()["status"], daemon.job()["actor"]) == ("paused", "me")
    assert daemon.job()["counts"]["done"] == job["counts"]["done"]
    assert daemon.call("resume")["jobs"][0]["changed"] is True
    assert daemon.call("resume")["jobs"][0]["changed"] is False
    daemon.wait_for(lambda: daemon.job()["counts"]["done"] > job["counts"]["done"])
    (stopped,) = daemon.call("stop")["jobs"]
    assert daemon.children("worker") == []
    assert (stopped["status"], stopped["changed"]) == ("stopped", True)
    assert daemon.call("stop", job=stopped["uuid"])["jobs"][0]["changed"] is False
    assert daemon.call("resume", job=stopped["uuid"])["jobs"][0]["status"] == "stopped"
    done = daemon.job()["counts"]["done"]
    again = daemon.ingest(many, **META)
    assert again["name"] == stopped["name"]
    assert again["uuid"] != stopped["uuid"]
    assert (again["status"], again["counts"]["done"]) == ("completed", MANY)
    assert again["reused"] == done
    with pytest.raises(RpcError, match="no job is active"):
        daemon.call("pause")
    assert daemon.call("pause", job="many")["jobs"] == [
        {"name": "many", "uuid": again["uuid"], "status": "completed", "changed": False}
    ]


@pytest.mark.parametrize("how", ["shutdown", "SIGTERM", "SIGINT"])
def test_a_shutdown_leaves_nobody_and_the_job_goes_on(how: str, many: Path, tmp_path: Path) -> None:
    """With work under way: every child ends, exit 0, nothing counts as a death; the next start goes on by itself."""
    daemon = Daemon(tmp_path / "home")
    daemon.start()
    begun(daemon, many, workers=2)
    family = daemon.children()
    assert family
    assert daemon.process is not None
    if how == "shutdown":
        with Wire(daemon, 60) as wire:
            assert wire.reply("shutdown")["result"]["pid"] == daemon.pid
            assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
            assert wire.line() is None
    else:
        daemon.process.send_signal(getattr(signal, how))
    assert daemon.process.wait(40) == 0
    assert not [child for child in family if child.is_running()]
    daemon.start()
    assert daemon.job()["status"] == "running"
    job = daemon.call("wait", 120)["job"]
    assert (job["status"], job["counts"]["done"]) == ("completed", MANY)
    assert daemon.query("SELECT coalesce(sum(deaths), 0), sum(attempts) - count(*) FROM item")[0][0] == 0
    assert daemon.call("summary")["batches"]["died"] == 0
    assert len(daemon.jsonl(job)) == MANY
    daemon.end()
    assert not defects(daemon)


def test_a_second_signal_is_no_error(many: Path, tmp_path: Path) -> None:
    """Impatience: several signals and a request to shut down at once end it once, cleanly."""
    daemon = Daemon(tmp_path / "home")
    daemon.start()
    begun(daemon, many)
    assert daemon.process is not None
    with Wire(daemon) as one, Wire(daemon) as two:
        one.ask("shutdown")
        two.ask("shutdown")
        for _ in range(3):
            daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(40) == 0
    assert not defects(daemon)


def test_wait_answers_when_the_job_rests(many: Path, daemon: Daemon) -> None:
    """Two who wait are both told, at a pause and at the end; one who went away harms nobody."""
    begun(daemon, many)
    with Wire(daemon, 60) as first, Wire(daemon, 60) as second:
        first.ask("wait")
        second.ask("wait", job="many")
        with Wire(daemon) as gone:
            gone.ask("wait")
        daemon.call("pause")
        for wire in (first, second):
            assert (wire.line() or {})["result"]["job"]["status"] == "paused"
    daemon.call("stop")
    assert daemon.call("wait")["job"]["status"] == "stopped"


def test_pause_while_models_load_and_while_nothing_runs(daemon: Daemon, tmp_path: Path) -> None:
    """A pause right behind a start takes effect as well, whatever it meets: probe, walk, or a worker's start."""
    for number in range(6):
        write_photos(tmp_path / f"few{number}", 40)
        daemon.call("start", sources=[str(tmp_path / f"few{number}")], **META)
        daemon.call("pause", all=True)
        assert daemon.children("worker") == []
        daemon.call("resume", all=True)
    for number in range(6):
        assert daemon.call("wait", job=f"few{number}")["job"]["counts"]["done"] == 40
    assert daemon.call("pause", all=True)["jobs"] == []
