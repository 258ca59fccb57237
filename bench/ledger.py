"""A daemon on a ledger of a million items: how fast it answers while it ingests, what it weighs, how soon it works."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.table import Row, median, quantile
from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import jobs
from ingestd.ledger.ledger import open_writer
from ingestd.policy.job_spec import JobSpec
from ingestd.protocol.work import Step
from ingestd.records import RootRef
from tests.daemonkit import META, Daemon
from tests.pictures import write_photos

FILES_PER_FOLDER = 1_000
CALLS = 1_000
P99_MS = 20.0
MEMORY_MB = 80.0
FIRST_CLAIM_S = 2.0


def generate(home: Path, items: int) -> None:
    """A ledger with one completed ``meta`` job: as many items, contents, results and feed rows, all delivered."""
    state = home / "state"
    state.mkdir(parents=True, mode=0o700)
    db, _ = open_writer(state / "ledger.db", 0)
    now = time.time_ns() // 1_000_000
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    jobs.begin_epoch(db, now, 0, "bench")
    roots = jobs.add_roots(db, [(b"/bench/archive", 0, "ext4")])
    spec, sinks = JobSpec(()), [SinkSpec("jsonl", "jsonl")]
    row = jobs.add(
        db, uuid="be" * 16, name="archive", refs=[RootRef(roots[0])], spec=spec, sinks=sinks, actor="", now=now
    )
    (step,) = jobs.resolve(db, row.id, [Step(0, "meta", "be" * 32, {})], {})
    db.executemany("INSERT INTO dir(id, root_id, rel) VALUES (?, ?, ?)", folders(items, roots[0]))
    contents = ((n, n.to_bytes(32, "little"), 3_000_000, "JPEG", 4000, 3000) for n in range(1, items + 1))
    db.executemany("INSERT INTO content(id, sha256, bytes, format, width, height) VALUES (?, ?, ?, ?, ?, ?)", contents)
    db.executemany(
        "INSERT INTO item(id, job_id, dir_id, name, size, mtime_ns, ctime_ns, inode, content_id, state, todo, attempts)"
        " VALUES (?, ?, ?, ?, 3000000, ?, ?, ?, ?, 'done', 0, 1)",
        ((n, row.id, 1 + (n - 1) // FILES_PER_FOLDER, b"IMG_%07d.JPG" % n, n, n, n, n) for n in range(1, items + 1)),
    )
    body = json.dumps({"format": "JPEG", "width": 4000, "height": 3000, "orientation": 1, "camera": "Bench 1"})
    db.executemany(
        "INSERT INTO result(content_id, step_id, body, at) VALUES (?, ?, ?, ?)",
        ((n, step.id, body, now) for n in range(1, items + 1)),
    )
    db.executemany(
        "INSERT INTO feed(job_id, content_id, seq) VALUES (?, ?, ?)", ((row.id, n, n) for n in range(1, items + 1))
    )
    jobs.put_cursor(db, row.id, "jsonl", items, "")
    db.execute(
        "UPDATE tally SET feed_seq = ?, committed = ?, last_done = ? WHERE job_id = ?", (items, now, items, row.id)
    )
    db.execute("UPDATE job_step SET done = ? WHERE job_id = ?", (items, row.id))
    db.execute(
        "INSERT INTO scan(job_id, started, ended, complete, found) VALUES (?, ?, ?, 1, ?)", (row.id, now, now, items)
    )
    db.execute("UPDATE job SET status = 'completed', rescan = 0 WHERE id = ?", (row.id,))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def folders(items: int, root: int) -> Iterator[tuple[int, int, bytes]]:
    for number in range((items + FILES_PER_FOLDER - 1) // FILES_PER_FOLDER):
        yield number + 1, root, b"%04d" % number


def run(folder: Path, items: int) -> Iterator[Row]:
    """The rows of a big ledger."""
    home = folder / "big"
    began = time.perf_counter()
    generate(home, items)
    size = (home / "state" / "ledger.db").stat().st_size / 1e6
    yield Row(f"generate a ledger of {items:,} items", "", f"{time.perf_counter() - began:.1f} s, {size:.0f} MB")
    small = folder / "small"
    write_photos(small, 200, seed=5)
    claims = [first_claim(home, folder / f"fresh{n}", small, n) for n in range(3)]
    worst = max(claims)
    yield Row(
        f"start with {items:,} done: process start to first claim",
        f"≤ {FIRST_CLAIM_S:.0f} s",
        f"median {median(claims):.2f} s, worst {worst:.2f} s of {len(claims)}",
        good=worst <= FIRST_CLAIM_S,
    )
    photos = folder / "photos"
    write_photos(photos, 12_000, seed=6)
    with Daemon(home) as daemon:
        daemon.ingest(photos, wait=False, **META)
        wait_until_working(daemon)
        times, working = status_calls(daemon)
        memory = psutil.Process(daemon.pid).memory_info().rss / 1e6
        peak = peak_mb(daemon.pid)
        yield Row(
            f"status, {CALLS:,} calls in a row on one connection, {working:.0%} of them while ingesting: round trip",
            f"p99 ≤ {P99_MS:.0f} ms",
            f"p50 {quantile(times, 0.5):.2f}, p99 {quantile(times, 0.99):.2f}, max {max(times):.2f} ms",
            good=quantile(times, 0.99) <= P99_MS,
        )
        daemon.call("wait", 300)
        yield Row(
            f"the daemon's resident memory with {items:,} items, while ingesting",
            f"< {MEMORY_MB:.0f} MB",
            f"{memory:.1f} MB, peak {peak:.1f} MB",
            good=max(memory, peak) < MEMORY_MB,
        )


def wait_until_working(daemon: Daemon) -> None:
    daemon.wait_for(lambda: daemon.job()["counts"]["done"] > 0)


def status_calls(daemon: Daemon) -> tuple[list[float], float]:
    """Round trips in milliseconds, from the first byte written to the last one read, and how many saw work going on.

    The client waits for nothing and parses only after the clock has stopped, so that this is the daemon's own time and
    the kernel's.
    """
    times, working = [], 0
    request = b'{"jsonrpc": "2.0", "id": 1, "method": "status"}\n'
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(daemon.socket)
        for _ in range(CALLS):
            began = time.perf_counter()
            sock.sendall(request)
            data = sock.recv(1 << 18)
            while not data.endswith(b"\n"):
                data += sock.recv(1 << 18)
            times.append((time.perf_counter() - began) * 1000)
            reply: dict[str, Any] = json.loads(data)["result"]
            working += reply["jobs"][0]["status"] == "running"
    return times, working / CALLS


def peak_mb(pid: int) -> float:
    """The process's largest resident set so far, from the kernel (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024 / 1e6


def first_claim(home: Path, fresh: Path, small: Path, number: int) -> float:
    """Seconds from starting the daemon's process until it has claimed an item of a new small job."""
    subprocess.run(["cp", "-r", str(small), str(fresh)], check=True)
    daemon = Daemon(home)
    began = time.perf_counter()
    with daemon:
        daemon.call("start", sources=[str(fresh)], name=f"fresh{number}", **META)
        db = sqlite3.connect(f"file:{home / 'state' / 'ledger.db'}?mode=ro", uri=True)
        try:
            newest = "SELECT running + done FROM tally ORDER BY job_id DESC LIMIT 1"
            while not db.execute(newest).fetchone()[0]:
                time.sleep(0.005)
            took = time.perf_counter() - began
        finally:
            db.close()
        daemon.call("wait", 60)
    return took
