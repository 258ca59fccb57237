"""The worker itself under the lock, and whole jobs through a daemon whose children are all locked."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ingestd.lockdown import landlock
from ingestd.protocol.work import (
    Drain,
    Fatal,
    FromWorker,
    Hello,
    Locked,
    Machine,
    Outcome,
    Ready,
    Refused,
    Step,
    WorkerSetup,
)
from tests.childkit import running
from tests.daemon.house import HastyDaemon, defects
from tests.daemonkit import META, Daemon
from tests.pictures import photo, write_photos
from tests.worker.workerkit import META_STEP, Worker

pytestmark = pytest.mark.skipif(landlock.kernel().abi < 1, reason="this kernel has no landlock: nothing was tested")

AUTO = ("--lockdown", "auto")


@contextmanager
def locked(tmp_path: Path, *sources: Path) -> Iterator[Worker]:
    """A worker under the lock that may read ``sources``, ready to work."""
    with running("ingestd.worker", FromWorker, words=AUTO) as child:
        child.expect(Hello)
        child.send(WorkerSetup([META_STEP], Machine(str(tmp_path / "scratch")), [os.fsencode(one) for one in sources]))
        child.expect(Locked)
        child.expect(Ready)
        yield Worker(child, [META_STEP])


def test_a_locked_worker_reads_its_sources(tmp_path: Path) -> None:
    """A folder, and a single file of another; what is missing is unreadable as ever: that is not the lock's doing."""
    first, alone = write_photos(tmp_path / "photos", 1)[0], write_photos(tmp_path / "single", 1)[0]
    with locked(tmp_path, tmp_path / "photos", alone) as worker:
        assert worker.one(first).failures == []
        assert worker.one(alone).failures == []
        (failure,) = worker.one(tmp_path / "photos" / "missing.jpg").failures
        assert (failure.kind, failure.detail) == ("unreadable", "ENOENT")


def test_what_the_lock_refuses_is_no_failure(tmp_path: Path) -> None:
    """The worker says so and holds the item; it goes when it is told to, cleanly, without an outcome for it."""
    first = write_photos(tmp_path / "photos", 1)[0]
    link = tmp_path / "photos" / "link.jpg"
    link.symlink_to(write_photos(tmp_path / "elsewhere", 1)[0])
    with locked(tmp_path, tmp_path / "photos") as worker:
        worker.give(7, link)
        said = [worker.child.receive(), worker.child.receive()]
        assert [one.item for one in said if isinstance(one, Refused)] == [7]
        worker.given = 8
        assert worker.one(first).failures == []
        worker.child.send(Drain())
        left = list(worker.child.until(lambda _: False, 30))
        assert not any(isinstance(one, Outcome) for one in left)
        assert worker.child.wait() == 0


def test_an_error_names_the_lock(tmp_path: Path) -> None:
    """A model that the kernel refuses is told with the setting that would allow it."""
    step = Step(1, "embed", "0" * 64, {"model": "/m", "folder": str(tmp_path / "absent"), "dim": 4})
    with running("ingestd.worker", FromWorker, words=AUTO) as child:
        child.expect(Hello)
        # The folder appears when the lock has fallen: it is not of what the worker may read.
        child.send(WorkerSetup([step], Machine(str(tmp_path / "scratch")), []))
        child.expect(Locked)
        (tmp_path / "absent").mkdir()
        (tmp_path / "absent" / "config.json").write_text("{}")
        fatal = child.expect(Fatal)
    assert "Permission denied" in fatal.message
    assert "lockdown" in fatal.remedy


def photos_with_links(tmp_path: Path) -> Path:
    """Four photos in a source, one behind a link to a file outside, two behind a link to a folder outside."""
    source, outside = tmp_path / "source", tmp_path / "outside"
    write_photos(source, 4)
    for number, name in enumerate(("alone/one.jpg", "folder/two.jpg", "folder/sub/three.jpg")):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_bytes(photo(90 + number, (96, 64)))
    (source / "link.jpg").symlink_to(outside / "alone" / "one.jpg")
    (source / "sub").mkdir()
    (source / "sub" / "folder").symlink_to(outside / "folder")
    return source


def events(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """The log's lines of one event."""
    return [line for line in map(json.loads, daemon.log()) if line.get("event") == name]


def test_links_that_lead_out_of_a_source_are_followed(tmp_path: Path) -> None:
    """Every item is done, none has failed, no worker died: workers were given what the links lead to, and no more."""
    source = photos_with_links(tmp_path)
    with Daemon(tmp_path / "home") as daemon:
        job = daemon.ingest(source, **META)
        assert (job["counts"]["done"], job["counts"]["failed"]) == (7, 0)
        assert daemon.query("SELECT max(deaths) FROM item") == [(0,)]
        widened = {line["place"] for line in events(daemon, "worker bounds widened")}
        assert widened == {str(tmp_path / "outside" / "alone"), str(tmp_path / "outside" / "folder")}
        assert not defects(daemon)


def test_a_source_of_links_alone_asks_one_walker_at_a_time(tmp_path: Path) -> None:
    """A whole window is refused at once, and no process is started for each of its items."""
    source = tmp_path / "source"
    source.mkdir()
    for original in write_photos(tmp_path / "elsewhere", 40):
        (source / original.name).symlink_to(original)
    with Daemon(tmp_path / "home") as daemon:
        daemon.ingest(source, wait=False, **META)
        most = 0

        def over() -> bool:
            nonlocal most
            most = max(most, len(daemon.children("walker")))
            return bool(daemon.job()["status"] == "completed")

        daemon.wait_for(over, 60)
        assert most <= 2  # the walk itself may go on beside it
        assert daemon.job()["counts"]["done"] == 40
        assert len(events(daemon, "worker bounds widened")) == 1


def test_children_are_told_no_secret_and_the_lock_is_shown(tmp_path: Path) -> None:
    """No key of the daemon's environment is in a child's; ``status`` and the log say what holds."""
    write_photos(tmp_path / "source", 400)
    with Daemon(tmp_path / "home", {"INGESTD_ENDPOINT_KEY": "kept", "MY_API_KEY": "kept"}) as daemon:
        daemon.ingest(tmp_path / "source", wait=False, **META)
        seen: dict[str, dict[str, str]] = {}
        shown: list[str] = []

        def looked() -> bool:
            for child in daemon.children():
                try:
                    room = next(word for word in child.cmdline() if word.startswith("ingestd."))
                    seen[room] = child.environ()
                except (psutil.NoSuchProcess, psutil.AccessDenied, StopIteration):
                    continue
            shown.extend(word for worker in daemon.job()["workers"] for word in worker["locked"])
            return {"ingestd.worker", "ingestd.sinks"} <= seen.keys() and bool(shown)

        daemon.wait_for(looked)
        assert all("kept" not in environ.values() for environ in seen.values())
        assert all(environ["HF_HUB_OFFLINE"] == "1" for environ in seen.values())
        assert {"no core dumps", "no programs", "no sockets"} <= set(shown)
        daemon.call("wait", 120, job=daemon.job()["name"])
        (told, *more) = events(daemon, "workers locked down")
        assert not more
        assert told["missing"] == []


WITHOUT = """
import errno, os, sys
from ingestd.lockdown.sockets import install, refuse_calls
load, allow = (0x20, 0, 0, 0), (0x06, 0, 0, 0x7FFF0000)
install([load, *refuse_calls((444, 445, 446), errno.ENOSYS), allow])
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program on a kernel that answers as one without Landlock does."""


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's own: it was not tested")
def test_a_job_on_a_kernel_without_landlock(tmp_path: Path) -> None:
    """It is done all the same, links and all, and the log says once what is missing."""
    source = photos_with_links(tmp_path)
    prefix = [sys.executable, "-c", WITHOUT]
    with HastyDaemon(tmp_path / "home", {}, prefix) as daemon:
        job = daemon.ingest(source, **META)
        assert (job["counts"]["done"], job["counts"]["failed"]) == (7, 0)
        (told,) = events(daemon, "workers locked down")
        assert any("landlock" in words for words in told["missing"])
        assert "no sockets" in told["force"]
        assert not events(daemon, "worker bounds widened")


def test_the_lock_can_be_switched_off(tmp_path: Path) -> None:
    """Then children keep what they may touch, and nothing is said of a lock; another word for it is refused."""
    source = photos_with_links(tmp_path)
    with Daemon(tmp_path / "home", {"INGESTD_LOCKDOWN": "no"}) as daemon:
        assert daemon.ingest(source, **META)["counts"]["done"] == 7
        assert not events(daemon, "workers locked down")
        assert not events(daemon, "worker bounds widened")


def test_the_workers_of_a_list_read_its_folders(tmp_path: Path) -> None:
    """And not the whole disk, which a list may name any file of; a link in it is followed like another."""
    many = [write_photos(tmp_path / f"folder-{number:02}", 1, seed=number)[0] for number in range(12)]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "link.jpg").symlink_to(photos_with_links(tmp_path) / "link.jpg")
    listed = [str(path) for path in (*many, tmp_path / "linked" / "link.jpg")]
    data = "".join(f"{path}\n" for path in listed).encode()
    (tmp_path / "files.list").write_bytes(data)
    request = {"list_file": str(tmp_path / "files.list"), "list_sha256": hashlib.sha256(data).hexdigest(), **META}
    with Daemon(tmp_path / "home") as daemon:
        name = daemon.call("start", **request)["job"]["name"]
        job = daemon.call("wait", 120, job=name)["job"]
        assert (job["counts"]["done"], job["counts"]["failed"]) == (13, 0)
        told = [words for line in events(daemon, "workers locked down") for words in line["force"]]
        assert "reads every file" not in told
        # Folders that the walk found after a worker had begun are not among it: they are the list's own.
        assert {line["place"] for line in events(daemon, "worker bounds widened")} == {str(tmp_path / "outside/alone")}
        assert not defects(daemon)
