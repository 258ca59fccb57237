"""A job whose results go to a Qdrant server: through the daemon, an outage included, and the key nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.daemon.house import HastyDaemon, defects
from tests.daemonkit import Daemon, RpcError
from tests.pictures import write_photos
from tests.qdrantkit import QdrantKit

KEY = "S3cretKey-0123456789"


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[QdrantKit]:
    kit = QdrantKit(tmp_path / "server", KEY)
    yield kit
    kit.close()


def traces(daemon: Daemon) -> bytes:
    """Everything that the daemon and its children leave or show: files under its home, command lines."""
    files = [path.read_bytes() for path in daemon.home.rglob("*") if path.is_file()]
    shown = []
    for process in [psutil.Process(daemon.pid), *psutil.Process(daemon.pid).children(recursive=True)]:
        try:
            shown.append(" ".join(process.cmdline()).encode())
        except psutil.NoSuchProcess:
            continue
    return b"\n".join(files + shown)


def test_a_job_into_a_server(kit: QdrantKit, tmp_path: Path) -> None:
    """Photos become points and are found; the server goes away, more photos come, and all are there afterwards; the
    key that opened it is in no file, log, command line, status or error."""
    folder = tmp_path / "photos"
    write_photos(folder, 12)
    sink = f"qdrant:{kit.url}"
    with Daemon(tmp_path / "home", {"INGESTD_QDRANT_KEY": KEY}) as daemon:
        job = daemon.ingest(folder, describe="none", embed="builtin", sinks=[sink], name="my photos")
        assert job["status"] == "completed"
        (collection,) = kit.names()
        assert collection.startswith("my photos-")
        points = kit.points()
        assert len(points) == 12
        assert {point.payload["paths"][0] for point in points.values()} == {str(path) for path in folder.iterdir()}
        found = daemon.call("search", text="a photo", n=3)
        assert [len(group["hits"]) for group in found["groups"]] == [3]

        kit.stop()
        write_photos(folder / "later", 6, seed=100)
        daemon.ingest(folder, wait=False, describe="none", embed="builtin", sinks=[sink], name="my photos")
        daemon.wait_for(lambda: "connection refused" in str(daemon.job()["sinks"]))
        assert daemon.job()["counts"]["failed"] == 0
        daemon.wait_for(lambda: daemon.job()["counts"]["done"] == 18)
        status = str(daemon.job())
        kit.start()
        assert daemon.call("wait", 120, job="my photos")["job"]["status"] == "completed"
        assert len(kit.points()) == 18
        with pytest.raises(RpcError) as raised:
            daemon.call("start", sources=[str(folder)], sinks=[f"qdrant:http://:{KEY}@127.0.0.1:6333"], name="other")
        told = status + str(raised.value) + str(raised.value.data)
        assert KEY.encode() not in traces(daemon) + told.encode()
        assert {request.headers.get("api-key") for request in kit.requests} == {KEY}
    assert not defects(daemon)
    assert KEY.encode() not in b"".join(p.read_bytes() for p in daemon.home.rglob("*") if p.is_file())
    assert os.path.exists(daemon.home / "state" / "ledger.db")


def test_a_key_that_the_server_does_not_take(kit: QdrantKit, tmp_path: Path) -> None:
    """The job stops and says what to change; with the right key the same job goes on."""
    folder = tmp_path / "photos"
    write_photos(folder, 3)
    asked = {"describe": "none", "embed": "builtin", "sinks": [f"qdrant:{kit.url}"], "name": "photos"}
    other = {"INGESTD_QDRANT_KEY": "another"}
    with HastyDaemon(tmp_path / "home", {"ingestd.control.verbs.start.SETTLE_S": 60}, env=other) as daemon:
        with pytest.raises(RpcError, match="the server answers 401"):
            daemon.ingest(folder, wait=False, **asked)
        assert daemon.job()["status"] == "failed"
        assert "INGESTD_QDRANT_KEY" in str(daemon.job())
        assert kit.points() == {}
    with Daemon(tmp_path / "home", {"INGESTD_QDRANT_KEY": KEY}) as daemon:
        assert daemon.ingest(folder, **asked)["status"] == "completed"
    assert len(kit.points()) == 3
