"""kill -9 at a random moment: nothing is lost, nothing is done twice, nobody is left over.

``make test`` kills each target in three jobs, and in one with models; ``INGESTD_CHAOS=50`` (``make chaos``) in fifty,
and in five with models. The seed is printed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import qdrant_edge

from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

ROUNDS = int(os.environ.get("INGESTD_CHAOS", "3"))
SEED = int(os.environ.get("INGESTD_SEED", str(random.randrange(1 << 30))))
FILES = 2_000
COPIES = 100
BAD = 10
WINDOW = 32
TARGETS = ("daemon", "worker", "walker", "sink", "daemon and worker")

BUILTIN_ROUNDS = 5 if ROUNDS >= 50 else 1
BUILTIN_FILES = 300
BUILTIN = {"describe": "builtin", "embed": "builtin"}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 small files: 100 copies, 10 that are no images."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, FILES - COPIES - BAD, seed=1)
    paths = sorted(folder.iterdir())
    for number in range(COPIES):
        shutil.copyfile(paths[number * 7], folder / f"copy-{number:03}.jpg")
    for number in range(BAD):
        (folder / f"bad-{number}.jpg").write_bytes(b"this is no image " * number)
    return folder


def end_target(daemon: Daemon, target: str, rng: random.Random) -> int:
    """SIGKILL the target at once; returns how many workers' windows that can cost."""
    rooms = {"worker": "worker", "walker": "walker", "sink": "sinks"}
    if target in rooms:
        victims = daemon.children(rooms[target])
        if not victims:
            return 0
        victim = rng.choice(victims)
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return 0
        return 1 if target == "worker" else 0
    family = daemon.children()
    if target == "daemon and worker":
        for worker in daemon.children("worker"):
            try:
                os.kill(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    daemon.kill()
    deadline = time.monotonic() + 2
    while alive := [process for process in family if lives(process)]:
        assert time.monotonic() < deadline, f"left over after 2 s: {alive}"
        time.sleep(0.02)
    return 1


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; one that has ended and waits for its new parent to reap it does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def check(daemon: Daemon, job: dict[str, Any], windows: int, files: int, contents: int, failed: int) -> int:
    """The invariants of every kill test, read from the ledger and the sinks themselves; returns what was redone."""
    assert job["status"] == "completed", job
    states = dict(daemon.query("SELECT state, count(*) FROM item GROUP BY state"))
    assert states == {state: count for state, count in (("done", files - failed), ("failed", failed)) if count}
    ((attempts,),) = daemon.query("SELECT sum(attempts) FROM item")
    assert attempts - files <= windows * WINDOW, f"{attempts - files} items were done again for {windows} kills"
    lines = daemon.jsonl(job)
    assert len(lines) == contents
    assert sum(len(line["paths"]) for line in lines.values()) == files - failed
    db = sqlite3.connect(daemon.home / "state" / "ledger.db")
    try:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    finally:
        db.close()
    return int(attempts) - files


def run_and_kill(daemon: Daemon, target: str, rng: random.Random, source: Path, span: float, **recipe: str) -> Any:
    """Start a job, kill the target within ``span`` seconds, bring everything back; returns (job, windows lost)."""
    began = time.monotonic()
    started = daemon.call("start", sources=[str(source)], **recipe)["job"]
    time.sleep(max(0.0, rng.uniform(0.0, span) - (time.monotonic() - began)))
    windows = end_target(daemon, target, rng)
    if daemon.process is not None and daemon.process.poll() is not None:
        daemon.start()
    return daemon.call("wait", 120, job=started["name"])["job"], windows


@pytest.mark.timeout(0)
@pytest.mark.parametrize("target", TARGETS)
def test_a_kill_costs_at_most_a_window(target: str, photos: Path, tmp_path: Path) -> None:
    """Whatever is killed, whenever: every item ends done or failed, once per content, at most a window redone."""
    print(f"\nseed {SEED}", end=" ")
    rng = random.Random(f"{SEED} {target}")
    redone = []
    for number in range(ROUNDS):
        home = tmp_path / f"home{number}"
        with Daemon(home) as daemon:
            # A meta job of 2,000 files takes some 3 s here: the kill falls anywhere from its first moment to its end.
            job, windows = run_and_kill(daemon, target, rng, photos, 3.0, **META)
            redone.append(check(daemon, job, windows, FILES, FILES - COPIES - BAD, BAD))
        shutil.rmtree(home)
    print(f"{target}: redone per kill {redone}", end=" ")


@pytest.fixture(scope="session")
def primed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose derived model files are made, so that each round does not make them anew."""
    home = tmp_path_factory.mktemp("primed")
    source = tmp_path_factory.mktemp("one")
    write_photos(source, 1, seed=3)
    with Daemon(home) as daemon:
        assert daemon.ingest(source, **BUILTIN)["status"] == "completed"
    return home / "state" / "scratch"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("target", TARGETS)
def test_a_kill_leaves_one_point_per_content(target: str, primed: Path, tmp_path: Path) -> None:
    """With vectors and a store: after any kill there is one point per distinct content, no more and no fewer."""
    rng = random.Random(f"{SEED} {target} builtin")
    source = tmp_path / "photos"
    source.mkdir()
    write_photos(source, BUILTIN_FILES, seed=2)
    redone = []
    for number in range(BUILTIN_ROUNDS):
        home = tmp_path / f"home{number}"
        shutil.copytree(primed, home / "state" / "scratch")
        with Daemon(home) as daemon:
            job, windows = run_and_kill(daemon, target, rng, source, 10.0, **BUILTIN)
            redone.append(check(daemon, job, windows, BUILTIN_FILES, BUILTIN_FILES, 0))
            place = next(sink["place"] for sink in job["sinks"] if sink["kind"] == "qdrant")
        points = stored_ids(place)
        assert len(points) == len(set(points)) == BUILTIN_FILES
        shutil.rmtree(home)
    print(f"\nseed {SEED} {target}: redone per kill {redone}", end=" ")


def stored_ids(place: str) -> list[str]:
    """The ids of every point in a store that no process holds."""
    shard = qdrant_edge.EdgeShard.load(place)
    points, _ = shard.scroll(qdrant_edge.ScrollRequest(limit=10 * BUILTIN_FILES))
    return [str(point.id) for point in points]
