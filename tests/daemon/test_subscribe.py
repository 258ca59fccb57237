"""The stream of a real daemon's jobs: a snapshot, then what changes, for as long as the client reads."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.house import Wire
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos


def test_subscribe_streams_a_job_to_its_end(shared: Daemon, tmp_path: Path) -> None:
    """A snapshot first, then the job's changes up to ``completed``; a client that goes away harms nobody."""
    write_photos(tmp_path / "streamed", 40)
    with Wire(shared) as wire, Wire(shared) as gone:
        first = wire.reply("subscribe")
        assert isinstance(first["result"]["jobs"], list)
        gone.ask("subscribe")
        gone.sock.close()
        job = shared.call("start", sources=[str(tmp_path / "streamed")], **META)["job"]
        seen = []
        while not seen or seen[-1] != "completed":
            event = wire.line()
            assert event is not None
            assert event["method"] == "event"
            if event["params"]["job"]["uuid"] == job["uuid"]:
                seen.append(event["params"]["job"]["status"])
        assert event["params"]["job"]["counts"]["done"] == 40
    assert shared.call("hello")["pid"] == shared.pid


def test_subscribe_narrows_to_a_job(shared: Daemon, tmp_path: Path) -> None:
    """With ``job`` only that job's changes come."""
    for name in ("followed", "other"):
        write_photos(tmp_path / name, 2)
        shared.ingest(tmp_path / name, **META)
    with Wire(shared) as wire:
        assert [job["name"] for job in wire.reply("subscribe", job="followed")["result"]["jobs"]] == ["followed"]
        shared.ingest(tmp_path / "other", **META)
        shared.ingest(tmp_path / "followed", **META)
        assert (wire.line() or {})["params"]["job"]["name"] == "followed"
