"""Changes that a walk brings: files added, edited, returned, vanished. Each runs inside the writer's transactions."""

from __future__ import annotations

import json
import sqlite3
from typing import NamedTuple

from ingestd.ledger.items import touch, uncount
from ingestd.ledger.sql import sql
from ingestd.policy.states import move_item
from ingestd.protocol.pathtext import shown
from ingestd.protocol.walk import Entry, Listing, ScanEnd
from ingestd.records import Recipe


class Applied(NamedTuple):
    """What one listing changed."""

    added: int
    changed: int
    gone: int


def begin(db: sqlite3.Connection, job_id: int, now: int) -> int:
    """A walk begins; returns its id. What is asked for from now on owes another one."""
    db.execute(sql("scan_owed"), {"job_id": job_id})
    (scan_id,) = db.execute(sql("add_scan"), {"job_id": job_id, "now": now}).fetchone()
    return int(scan_id)


def apply(db: sqlite3.Connection, job_id: int, scan_id: int, recipe: Recipe, listing: Listing, now: int) -> Applied:
    """Bring the items of one folder up to what its listing says."""
    dir_id = _dir_id(db, listing.root_id, listing.rel)
    added = changed = gone = 0
    for entry in listing.entries:
        if entry.item is not None:
            changed += _repend(db, job_id, recipe, entry.item, entry)
        elif _add(db, job_id, dir_id, recipe, entry):
            added += 1
        else:  # another walk, or another spelling of the same place, was faster
            place = {"dir_id": dir_id, "name": entry.name, "job_id": job_id}
            item, _ = db.execute(sql("item_at"), place).fetchone()
            changed += _repend(db, job_id, recipe, item, entry)
    for item in listing.gone:
        gone += _vanish(db, job_id, recipe, item, now)
    db.execute(sql("scan_progress"), {"scan_id": scan_id, "found": len(listing.entries) + listing.unchanged})
    return Applied(added, changed, gone)


def end(db: sqlite3.Connection, job_id: int, scan_id: int, report: ScanEnd, interrupted: bool, now: int) -> bool:
    """The walk ended; returns whether it pays what the job owed.

    It does unless we interrupted it or a whole source was away; folders that could not be listed are reported and
    looked at again by the next walk.
    """
    paid = not interrupted and not any(error.is_root for error in report.errors)
    errors = [{"path": shown(error.path)[0], "message": error.message} for error in report.errors]
    db.execute(
        sql("end_scan"),
        {
            "scan_id": scan_id,
            "now": now,
            "complete": int(report.complete),
            "limited": int(report.limited),
            "found": report.found,
            "skipped": json.dumps(report.skipped),
            "errors": json.dumps(errors),
        },
    )
    db.execute(sql("set_skipped"), {"job_id": job_id, "skipped": sum(report.skipped.values())})
    if paid:
        db.execute(sql("scan_paid"), {"job_id": job_id})
    return paid


def _dir_id(db: sqlite3.Connection, root_id: int, rel: bytes) -> int:
    key = {"root_id": root_id, "rel": rel}
    row = db.execute(sql("dir_id"), key).fetchone() or db.execute(sql("add_dir"), key).fetchone()
    return int(row[0])


def _place(entry: Entry) -> dict[str, int]:
    stat = entry.stat
    return {"size": stat.size, "mtime_ns": stat.mtime_ns, "ctime_ns": stat.ctime_ns, "inode": stat.inode}


def _add(db: sqlite3.Connection, job_id: int, dir_id: int, recipe: Recipe, entry: Entry) -> bool:
    row = {
        "job_id": job_id,
        "dir_id": dir_id,
        "name": entry.name,
        "todo": recipe.mask,
        "pass": recipe.pass_of(recipe.mask),
    }
    return db.execute(sql("add_item"), {**row, **_place(entry)}).rowcount == 1


def _repend(db: sqlite3.Connection, job_id: int, recipe: Recipe, item: int, entry: Entry) -> bool:
    row = db.execute(sql("item_marks"), {"item": item, "job_id": job_id}).fetchone()
    if row is None:
        return False
    state, todo, bad, content_id = row
    if state == "running":
        db.execute(sql("restat"), {"item": item, **_place(entry)})
        return True
    returned = state == "gone"
    move_item(state, "return" if returned else "edit")
    uncount(db, job_id, recipe, state, todo, bad)
    db.execute(sql("forget_failures"), {"item": item})
    db.execute(sql("repend"), {"item": item, "todo": recipe.mask, "pass": recipe.pass_of(recipe.mask), **_place(entry)})
    if returned and content_id is not None:
        touch(db, job_id, content_id)
    return True


def _vanish(db: sqlite3.Connection, job_id: int, recipe: Recipe, item: int, now: int) -> bool:
    row = db.execute(sql("item_marks"), {"item": item, "job_id": job_id}).fetchone()
    if row is None or row[0] == "gone":
        return False
    state, todo, bad, content_id = row
    move_item(state, "vanish")
    uncount(db, job_id, recipe, state, todo, bad)
    db.execute(sql("vanish"), {"item": item, "job_id": job_id, "now": now})
    if content_id is not None:
        touch(db, job_id, content_id)
    return True
