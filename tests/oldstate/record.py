"""What ``make.py`` writes into ``expected.json``: the state folder of that release as it was left, in every detail."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BASE = Path("/tmp/ingestd-old")
"""Neutral, for it stands in the ledger, in the JSONL files and in the points."""

HOME = BASE / "home"
LEDGER = HOME / "state" / "ledger.db"


def query(sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Rows of the ledger."""
    db = sqlite3.connect(f"file:{LEDGER}?mode=ro", uri=True)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


def shorter(path: bytes) -> str:
    """A path below ``BASE`` as ``os.fsdecode`` has it, without ``BASE``."""
    return os.fsdecode(path).replace(f"{BASE}/", "", 1)


def sha(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def record(plans: Mapping[str, dict[str, Any]], lists: Mapping[str, list[bytes]]) -> dict[str, Any]:
    """What was done, by the ledger and by the files themselves. By name: ``plans`` made the jobs, from ``lists``."""
    jobs = {}
    for ident, uuid, name, state, reason, actor, rescan in query(
        "SELECT id, uuid, name, status, reason, actor, rescan FROM job ORDER BY id"
    ):
        jobs[name] = plans[name] | {"uuid": uuid, "status": state, "reason": reason.replace(str(BASE), "{base}")}
        jobs[name] |= {"actor": actor, "rescan": rescan} | of_job(ident) | of_sinks(ident, uuid)
        if name in lists:
            jobs[name]["list"] = [shorter(path) for path in lists[name]]
    results: dict[str, dict[str, Any]] = {}
    for digest, fingerprint, batch, at, body, vector in query(
        "SELECT hex(sha256), fingerprint, batch_id, at, body, vector FROM result"
        " JOIN content ON content.id = content_id JOIN step ON step.id = step_id"
    ):
        row = [batch, at, sha(body.encode()), sha(vector)]
        results.setdefault(digest.lower(), {})[fingerprint] = row
    described = query(
        "SELECT hex(sha256), body FROM result JOIN content ON content.id = content_id JOIN step ON step.id = step_id"
        " WHERE step.kind = 'describe'"
    )
    return {
        "base": str(BASE),
        "commit": "6b54340",
        "ledger_version": query("PRAGMA user_version")[0][0],
        "jobs": jobs,
        "results": results,
        "described": {digest.lower(): json.loads(body) for digest, body in described},
    }


def of_job(ident: int) -> dict[str, Any]:
    names = ["pending", "running", "suspect", "done", "failed", "gone", "skipped", "reused", "feed_seq"]
    counts = dict(zip(names, query(f"SELECT {', '.join(names)} FROM tally WHERE job_id = ?", ident)[0], strict=True))
    steps = query(
        "SELECT bit, kind, fingerprint, pass, done, failed FROM job_step JOIN step ON step.id = step_id"
        " WHERE job_id = ? ORDER BY bit", ident,
    )  # fmt: skip
    rows = query(
        "SELECT root.path, dir.rel, item.name, state, attempts, todo, bad, pass, deaths, hex(sha256) FROM item"
        " JOIN dir ON dir.id = dir_id JOIN root ON root.id = root_id LEFT JOIN content ON content.id = content_id"
        " WHERE job_id = ? ORDER BY item.id", ident,
    )  # fmt: skip
    found = {}
    for root, rel, name, state, attempts, todo, bad, pass_, deaths, digest in rows:
        path = shorter(b"/".join([root.rstrip(b"/"), rel, name] if rel else [root.rstrip(b"/"), name]))
        found[path] = {"state": state, "attempts": attempts, "todo": todo, "bad": bad, "pass": pass_}
        found[path] |= {"deaths": deaths, "sha256": digest.lower() if digest else None}
    failures = query(
        "SELECT item.name, kind, message FROM failure JOIN item ON item.id = item_id WHERE job_id = ? ORDER BY 1", ident
    )
    feed = query(
        "SELECT hex(sha256), seq, deleted FROM feed JOIN content ON content.id = content_id WHERE job_id = ?"
        " ORDER BY seq", ident,
    )  # fmt: skip
    return {
        "counts": counts,
        "steps": [list(step) for step in steps],
        "items": found,
        "failures": {os.fsdecode(name): [kind, message] for name, kind, message in failures},
        "feed": {digest.lower(): [seq, deleted] for digest, seq, deleted in feed},
    }


def of_sinks(ident: int, uuid: str) -> dict[str, Any]:
    cursors = query("SELECT sink, seq, token FROM cursor WHERE job_id = ? ORDER BY sink", ident)
    stores = query("SELECT sink, fingerprint, place FROM store WHERE job_id = ?", ident)
    found: dict[str, Any] = {
        "cursors": {name.replace(str(BASE), "{base}"): [seq, token] for name, seq, token in cursors},
        "stores": [[sink, fingerprint, place.replace(str(BASE), "{base}")] for sink, fingerprint, place in stores],
    }
    lines = HOME / "state" / "sinks" / uuid / "items.jsonl"
    if lines.exists():
        token = json.loads(next(token for name, _, token in cursors if name == "jsonl"))
        data = lines.read_bytes()
        told = data[: token["offset"]]
        found["jsonl"] = {"bytes": len(data), "told": len(told), "sha256": sha(told)}
        found["jsonl"]["lines"] = [json.loads(line)["id"] for line in told.splitlines()]
    for _, _, place in stores:
        mark = json.loads((Path(place) / "ingestd.json").read_bytes())
        found["store"] = {"mark": mark, "points": points(Path(place))}
    return found


def points(place: Path) -> list[str]:
    """The ids in a copy of a store: opening one changes it."""
    import qdrant_edge

    copy = BASE / "copy"
    shutil.copytree(place, copy)
    shard = qdrant_edge.EdgeShard.load(str(copy))
    found, _ = shard.scroll(qdrant_edge.ScrollRequest(limit=10_000))
    shard.close()
    shutil.rmtree(copy)
    return sorted(str(point.id) for point in found)


def shown(value: Any, depth: int = 0) -> str:
    """JSON, with a line for each item, content and so on of each job, and no more lines than that."""
    if not isinstance(value, dict) or depth > 3 or not value:
        return json.dumps(value)
    pad = " " * (depth + 1)
    rows = [f"{pad}{json.dumps(key)}: {shown(entry, depth + 1)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"
