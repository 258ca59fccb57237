"""What a ledger says of its jobs, in the columns that version 2 had; and the client's command line."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.oldstate.thaw import Thawed

ROOT = Path(__file__).resolve().parents[2]


class Item(NamedTuple):
    """An item of a job. ``sha256`` in hex, None until it was read."""

    state: str
    attempts: int
    sha256: str | None


class Made(NamedTuple):
    """A result: which batch made it and when (Unix milliseconds), and the hashes of its body and of its vector."""

    batch: int
    at: int
    body: str | None
    vector: str | None


class Snapshot(NamedTuple):
    """``items`` by the job's uuid and the path (relative to the base, where it lies below it); ``results`` by content
    and step's fingerprint; ``statuses``, ``reasons``, ``steps`` (fingerprints) and ``batches`` (how many) by uuid."""

    items: dict[str, dict[str, Item]]
    results: dict[tuple[str, str], Made]
    statuses: dict[str, str]
    reasons: dict[str, str]
    steps: dict[str, list[str]]
    batches: dict[str, int]


def look(thawed: Thawed) -> Snapshot:
    """One consistent view of the ledger, with or without a daemon over it."""
    db = sqlite3.connect(f"file:{thawed.ledger}?mode=ro", uri=True)
    try:
        db.execute("BEGIN")
        return Snapshot(_items(db, thawed), _results(db), *_jobs(db))
    finally:
        db.close()


def _items(db: sqlite3.Connection, thawed: Thawed) -> dict[str, dict[str, Item]]:
    found: dict[str, dict[str, Item]] = {uuid: {} for (uuid,) in db.execute("SELECT uuid FROM job")}
    rows = db.execute(
        "SELECT uuid, root.path, dir.rel, item.name, state, attempts, sha256 FROM item JOIN job ON job.id = job_id"
        " JOIN dir ON dir.id = dir_id JOIN root ON root.id = root_id LEFT JOIN content ON content.id = content_id"
    )
    for uuid, root, rel, name, state, attempts, digest in rows:
        path = b"/".join([root.rstrip(b"/"), rel, name] if rel else [root.rstrip(b"/"), name])
        relative = os.fsdecode(path.removeprefix(os.fsencode(thawed.base) + b"/"))
        found[uuid][relative] = Item(state, attempts, digest.hex() if digest else None)
    return found


def _results(db: sqlite3.Connection) -> dict[tuple[str, str], Made]:
    rows = db.execute(
        "SELECT sha256, fingerprint, batch_id, at, body, vector FROM result JOIN content ON content.id = content_id"
        " JOIN step ON step.id = step_id"
    )
    return {
        (digest.hex(), fingerprint): Made(batch, at, sha(body.encode()), sha(vector))
        for digest, fingerprint, batch, at, body, vector in rows
    }


def _jobs(db: sqlite3.Connection) -> tuple[dict[str, str], dict[str, str], dict[str, list[str]], dict[str, int]]:
    steps: dict[str, list[str]] = {}
    for uuid, fingerprint in db.execute(
        "SELECT uuid, fingerprint FROM job_step JOIN job ON job.id = job_id JOIN step ON step.id = step_id ORDER BY bit"
    ):
        steps.setdefault(uuid, []).append(fingerprint)
    batches = db.execute("SELECT uuid, count(*) FROM batch JOIN job ON job.id = job_id GROUP BY uuid")
    statuses, reasons = (dict(db.execute(f"SELECT uuid, {column} FROM job")) for column in ("status", "reason"))
    return statuses, reasons, steps, dict(batches)


def sha(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def ctl(thawed: Thawed, *words: str | bytes, stdin: bytes = b"", codes: tuple[int, ...] = (0,)) -> str:
    """Run ``ingestctl`` as a person would; returns its stdout. Any exit code but ``codes`` fails."""
    env: dict[str, str] = {k: v for k, v in os.environ.items() if not k.startswith("INGESTD_")}
    env |= {"INGESTD_HOME": str(thawed.home), "PYTHONPATH": f"{ROOT / 'ctl'}{os.pathsep}{ROOT}", "LOGNAME": "ada"}
    command = [sys.executable, "-m", "ingestctl", *words]
    done = subprocess.run(command, env=env, cwd=thawed.base, input=stdin, capture_output=True, timeout=120)
    assert done.returncode in codes, (words, done)
    return done.stdout.decode()


def ctl_start(thawed: Thawed, job: dict[str, Any]) -> str:
    """Give the command line that made a job of ``EXPECTED`` once more, with its file list on stdin."""
    end = b"\0" if job.get("nul") else b"\n"
    stdin = b"".join(thawed.path(path) + end for path in job.get("list", ()))
    return ctl(thawed, *(word.format(base=thawed.base) for word in job["words"]), stdin=stdin)
