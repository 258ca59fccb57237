"""What a daemon finds in its state folder: another daemon, a newer ledger, garbage, damage, or nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingestd.errors import EX_CONFIG, EX_SOFTWARE, EX_UNAVAILABLE
from tests.daemon.house import defects, run_ingestd
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

FILES = 300


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a completed job of 300 photos, to be copied; its photos lie beside it in ``photos``."""
    base = tmp_path_factory.mktemp("grown")
    write_photos(base / "photos", FILES)
    with Daemon(base / "home") as daemon:
        assert daemon.ingest(base / "photos", **META)["status"] == "completed"
    return base


@pytest.fixture
def home(grown: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(grown / "home", tmp_path / "home"))


def page_of(ledger: Path, table: str) -> tuple[int, int]:
    """The page size of a ledger and the number of a table's root page."""
    db = sqlite3.connect(ledger)
    try:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
    return size, page


def overwrite(ledger: Path, offset: int, data: bytes) -> None:
    with open(ledger, "r+b") as file:
        file.seek(offset)
        file.write(data)


def truncated(ledger: Path) -> None:
    os.truncate(ledger, ledger.stat().st_size * 9 // 10)


def item_table_zeroed(ledger: Path) -> None:
    size, page = page_of(ledger, "item")
    overwrite(ledger, (page - 1) * size, bytes(size))


def pages_of_results_garbled(ledger: Path) -> None:
    """The item table's root, so that it is noticed at once, and two pages of results: all noise, noise in cells."""
    size, page = page_of(ledger, "item")
    data = ledger.read_bytes()
    marks = [at for at in range(0, len(data), size) if data[at] == 13 and b'"orientation"' in data[at : at + size]]
    assert len(marks) > 3
    overwrite(ledger, marks[0], os.urandom(size))
    overwrite(ledger, marks[2] + size // 2, os.urandom(size // 2))
    overwrite(ledger, (page - 1) * size, os.urandom(size))


@pytest.mark.parametrize(
    ("damage", "least"),
    [(truncated, 1), (item_table_zeroed, FILES), (pages_of_results_garbled, FILES // 2)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_damaged_ledger_gives_its_results(
    damage: Callable[[Path], None], least: int, home: Path, grown: Path
) -> None:
    """It is moved aside; its results are reused by hash, its job comes back as it was, and every line is right."""
    before = json.loads(next((home / "state" / "jobs").glob("*.json")).read_text())
    damage(home / "state" / "ledger.db")
    bytes_damaged = (home / "state" / "ledger.db").read_bytes()
    with Daemon(home) as daemon:
        (moved,) = (home / "state" / "aside").glob("*.db")
        assert moved.read_bytes() == bytes_damaged
        ((kept,),) = daemon.query("SELECT count(*) FROM result WHERE batch_id IS NULL")
        assert kept >= least
        job = daemon.call("wait", job="photos")["job"]
        assert job["uuid"] == before["uuid"]
        assert job["status"] == "completed"
        assert job["counts"]["done"] == FILES
        assert job["reused"] == kept
        ((made,),) = daemon.query("SELECT count(*) FROM result WHERE batch_id IS NOT NULL")
        assert made == FILES - kept, "what was kept was not computed again"
        lines = daemon.jsonl(job)
        assert sorted(path for line in lines.values() for path in line["paths"]) == [
            str(path) for path in sorted((grown / "photos").iterdir())
        ]
        assert daemon.query("PRAGMA quick_check") == [("ok",)]
        assert any("moved aside" in line for line in daemon.log())
    assert not defects(daemon)


@pytest.mark.parametrize("data", [b"this is no database\n" * 500, b"SQLite format 3\x00", os.urandom(20_000)])
def test_a_garbage_ledger_is_moved_aside(data: bytes, home: Path) -> None:
    """Nothing can be read of it; the job comes back from its file and is done again."""
    ledger = home / "state" / "ledger.db"
    ledger.write_bytes(data)
    with Daemon(home) as daemon:
        (moved,) = (home / "state" / "aside").glob("*.db")
        assert moved.read_bytes() == data
        job = daemon.call("wait", job="photos")["job"]
        assert (job["status"], job["counts"]["done"], job["reused"]) == ("completed", FILES, 0)
        assert len(daemon.jsonl(job)) == FILES
    assert not defects(daemon)


def test_a_lost_ledger_brings_its_jobs_back(home: Path) -> None:
    """Without ledger the jobs are made again from their files, whatever lies around of the old one."""
    (home / "state" / "ledger.db").unlink()
    with Daemon(home) as daemon:
        job = daemon.call("wait", job="photos")["job"]
        assert (job["status"], job["counts"]["done"]) == ("completed", FILES)
    assert not defects(daemon)


def test_the_write_ahead_log_of_a_damaged_ledger_is_read(grown: Path, tmp_path: Path) -> None:
    """After a kill most of what was committed lies in the ``-wal``: it is salvaged too."""
    daemon = Daemon(tmp_path / "home")
    daemon.start()
    daemon.ingest(grown / "photos", **META)
    daemon.kill()
    ledger = tmp_path / "home" / "state" / "ledger.db"
    assert (ledger.parent / "ledger.db-wal").stat().st_size > 100_000
    (ledger.parent / "ledger.db.damaged").write_text("it was found damaged\n")
    daemon.start()
    assert daemon.call("wait")["job"]["reused"] == FILES
    assert sorted(path.name.partition(".")[2] for path in (ledger.parent / "aside").iterdir()) == [
        "db", "db-shm", "db-wal"
    ]  # fmt: skip
    assert not (ledger.parent / "ledger.db.damaged").exists()
    daemon.end()
    assert not defects(daemon)


def test_an_interrupted_salvage_is_finished_or_begun_again(home: Path, grown: Path) -> None:
    """A power cut between the two renames leaves the new ledger whole; before them, a half-made one is thrown away."""
    state = home / "state"
    (state / "ledger.db").rename(state / "ledger.db.new")
    (state / "ledger.db-wal").write_bytes(b"left by the ledger that was moved aside")
    with Daemon(home) as daemon:
        assert daemon.job()["counts"]["done"] == FILES
        assert daemon.ingest(grown / "photos", **META)["reused"] == 0
    truncated(state / "ledger.db")
    (state / "ledger.db.new").write_bytes(b"half made")
    with Daemon(home) as daemon:
        assert daemon.call("wait")["job"]["counts"]["done"] == FILES
    assert not defects(daemon)
    assert not (state / "ledger.db.new").exists()


def test_damage_met_while_running_ends_the_daemon_in_words(grown: Path, tmp_path: Path) -> None:
    """SQLite's word for damage is remembered: the daemon ends, and the next start salvages."""
    home = tmp_path / "home"
    daemon = Daemon(home)
    daemon.start()
    daemon.ingest(grown / "photos", **META)
    daemon.end()
    ledger = home / "state" / "ledger.db"
    size, page = page_of(ledger, "item_running")  # an index: the look at each table at the start does not meet it
    overwrite(ledger, (page - 1) * size, bytes(size))
    ended = run_ingestd(home)
    assert ended.returncode == EX_SOFTWARE
    assert "it is damaged" in ended.stderr
    assert "Traceback" not in ended.stderr
    daemon.start()
    job = daemon.call("wait")["job"]
    assert (job["counts"]["done"], job["reused"]) == (FILES, FILES)
    daemon.end()


def test_stopped_and_paused_jobs_keep_their_wish(tmp_path: Path) -> None:
    """From their files a stopped job does not come back, a paused one rests, changed settings are the newest."""
    home = tmp_path / "home"
    for name in ("stopped", "paused", "changed", "alone"):
        write_photos(tmp_path / name, 3)
    with Daemon(home) as daemon:
        for name in ("stopped", "paused", "changed"):
            daemon.ingest(tmp_path / name, **META)
        daemon.ingest(tmp_path / "alone" / "photo-00001.jpg", name="one file", **META)
        daemon.ingest(tmp_path / "changed", batch_size=7, exclude=["*2.jpg"])
    files = [json.loads(path.read_text()) for path in (home / "state" / "jobs").glob("*.json")]
    assert {file["name"] for file in files} == {"stopped", "paused", "changed", "one file"}
    for file in files:
        if file["name"] in ("stopped", "paused"):
            file |= {"status": file["name"], "actor": "somebody"}
            (home / "state" / "jobs" / f"{file['uuid']}.json").write_text(json.dumps(file))
    (home / "state" / "jobs" / "bad.json").write_text("{")
    (home / "state" / "ledger.db").unlink()
    with Daemon(home) as daemon:
        daemon.call("wait", job="one file")
        jobs = {job["name"]: job for job in daemon.call("status")["jobs"]}
        assert set(jobs) == {"paused", "changed", "one file"}
        assert (jobs["paused"]["status"], jobs["paused"]["actor"]) == ("paused", "somebody")
        assert jobs["changed"]["batch_size"] == 7
        assert daemon.call("wait", job="changed")["job"]["counts"]["found"] == 2
        assert jobs["one file"]["counts"]["found"] == 1
    assert not defects(daemon)


def test_a_job_file_follows_its_job(daemon: Daemon, tmp_path: Path) -> None:
    """The file says what a person last said: paused, resumed, stopped; a removed job has none."""
    write_photos(tmp_path / "many", 2_000)
    job = daemon.ingest(tmp_path / "many", wait=False, **META)
    path = daemon.home / "state" / "jobs" / f"{job['uuid']}.json"

    def status() -> Any:
        return json.loads(path.read_text())["status"]

    assert status() == "queued"
    for verb, expected in (("pause", "paused"), ("resume", "queued"), ("pause", "paused")):
        daemon.call(verb, job="many", actor="me")
        assert status() == expected
    daemon.call("start", sources=[str(tmp_path / "many")], workers=2)
    assert status() == "queued"
    assert json.loads(path.read_text())["requested"]["workers"] == 2
    daemon.call("stop", job="many")
    assert status() == "stopped"
    daemon.call("remove", job="many")
    assert not path.exists()


# ---------------------------------------------------------------------------------------- a second daemon, a newer one


def test_a_second_daemon_names_the_first(daemon: Daemon) -> None:
    """It exits 69 with the first one's pid in its words, and the first goes on."""
    second = run_ingestd(daemon.home)
    assert second.returncode == EX_UNAVAILABLE
    assert f"another ingestd holds it (pid {daemon.pid})" in second.stderr
    assert "Traceback" not in second.stderr
    assert daemon.call("hello")["pid"] == daemon.pid
    daemon.process.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    assert daemon.call("hello")["pid"] == daemon.pid


@pytest.mark.parametrize("killed", [False, True])
def test_a_newer_ledger_is_not_touched(killed: bool, tmp_path: Path) -> None:
    """Not one byte of it or of its log is changed, and the sentence says what to do."""
    home = tmp_path / "home"
    daemon = Daemon(home)
    daemon.start()
    if killed:
        daemon.kill()
    else:
        daemon.end()
    ledger = home / "state" / "ledger.db"
    raise_version(ledger, tmp_path) if killed else set_version(ledger)
    names = sorted(path for path in (home / "state").iterdir() if path.name.startswith("ledger.db"))
    before = {path: path.read_bytes() for path in names if not path.name.endswith("-shm")}
    ended = run_ingestd(home)
    assert ended.returncode == EX_CONFIG
    assert "a newer release wrote it" in ended.stderr
    assert "Install the newer ingestd" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert not (home / "state" / "aside").exists()


def set_version(ledger: Path) -> None:
    db = sqlite3.connect(ledger)
    db.execute("PRAGMA user_version = 99")
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()


def raise_version(ledger: Path, tmp_path: Path) -> None:
    """Only the write-ahead log knows of the newer version, as after a kill just behind a migration."""
    db = sqlite3.connect(ledger)
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA user_version = 99")
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{ledger}{suffix}", copy)
    db.close()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{ledger}{suffix}").unlink(missing_ok=True)
    for path in copy.iterdir():
        shutil.move(path, ledger.parent)
