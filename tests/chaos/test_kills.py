"""kill -9 at a random moment: nothing is lost, nothing is done twice, nobody is left over.

``make test`` kills each target in a few jobs; ``INGESTD_CHAOS=50`` (``make chaos``) in fifty. The seed is printed.
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

from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

ROUNDS = int(os.environ.get("INGESTD_CHAOS", "3"))
SEED = int(os.environ.get("INGESTD_SEED", str(random.randrange(1 << 30))))
FILES = 2_000
COPIES = 100
BAD = 10
WINDOW = 32
TARGETS = ("daemon", "worker", "walker", "sink", "daemon and worker")


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
    _, alive = psutil.wait_procs(family, timeout=2)
    assert not alive, f"left over after 2 s: {alive}"
    return 1


def check(daemon: Daemon, job: dict[str, Any], windows: int, contents: int, failed: int) -> None:
    """The invariants of every kill test, read from the ledger and the sinks themselves."""
    assert job["status"] == "completed", job
    states = dict(daemon.query("SELECT state, count(*) FROM item GROUP BY state"))
    assert states == {"done": FILES - failed, "failed": failed}
    ((attempts,),) = daemon.query("SELECT sum(attempts) FROM item")
    assert attempts - FILES <= windows * WINDOW, f"{attempts - FILES} items were done again for {windows} kills"
    lines = daemon.jsonl(job)
    assert len(lines) == contents
    assert sum(len(line["paths"]) for line in lines.values()) == FILES - failed
    db = sqlite3.connect(daemon.home / "state" / "ledger.db")
    try:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    finally:
        db.close()


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
            began = time.monotonic()
            started = daemon.call("start", sources=[str(photos)], **META)["job"]
            # A meta job of 2,000 files takes some 3 s here: the kill falls anywhere from its first moment to its end.
            time.sleep(max(0.0, rng.uniform(0.0, 3.0) - (time.monotonic() - began)))
            windows = end_target(daemon, target, rng)
            if daemon.process is not None and daemon.process.poll() is not None:
                daemon.start()
            job = daemon.call("wait", 120, job=started["name"])["job"]
            check(daemon, job, windows, FILES - COPIES - BAD, BAD)
            ((attempts,),) = daemon.query("SELECT sum(attempts) FROM item")
            redone.append(attempts - FILES)
        shutil.rmtree(home)
    print(f"{target}: redone per kill {redone}", end=" ")
