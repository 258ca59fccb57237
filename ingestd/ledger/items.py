"""Changes of items: claims, commits, losses, retries. Every function runs inside one of the writer's transactions."""

from __future__ import annotations

import math
import sqlite3
from collections import defaultdict
from collections.abc import Sequence

from ingestd.ledger.reader import join_path
from ingestd.ledger.sql import sql
from ingestd.policy.states import ItemState, after_daemon_death, after_release, after_worker_death, move_item
from ingestd.protocol.work import Failure, Outcome, Stat, Work
from ingestd.records import Claimed, Committed, KnownContent, Recipe

ALL_STEPS = 0
"""``failure.step_id`` for what concerns every step that the item still had (its file could not be decoded, say)."""


def next_pass(db: sqlite3.Connection, job_id: int, now: int, *, alone: bool) -> int:
    """The pass that a worker begun now is for: the lowest that has work, or that of the next suspect."""
    row = db.execute(sql("suspect_pass" if alone else "lowest_pass"), {"job_id": job_id, "now": now}).fetchone()
    return int(row[0]) if row else 0


def claim(
    db: sqlite3.Connection, job_id: int, recipe: Recipe, batch_id: int, pass_: int, limit: int, now: int
) -> list[Claimed]:
    """Mark up to ``limit`` pending items of a pass as running in ``batch_id``; each is to do the steps of that pass."""
    rows = db.execute(
        sql("claim"), {"job_id": job_id, "batch_id": batch_id, "pass": pass_, "limit": limit, "now": now}
    ).fetchall()
    return _claimed(db, sorted(rows), recipe.mask_of(pass_), alone=False)


def claim_suspect(db: sqlite3.Connection, job_id: int, recipe: Recipe, batch_id: int, pass_: int) -> list[Claimed]:
    """Mark one suspect of a pass as running, alone, in ``batch_id``."""
    rows = db.execute(sql("claim_suspect"), {"job_id": job_id, "batch_id": batch_id, "pass": pass_}).fetchall()
    return _claimed(db, rows, recipe.mask_of(pass_), alone=True)


def _claimed(db: sqlite3.Connection, rows: Sequence[tuple[int, ...]], mask: int, *, alone: bool) -> list[Claimed]:
    folders: dict[int, tuple[bytes, bytes]] = {}
    claimed = []
    for item, dir_id, name, size, mtime_ns, ctime_ns, inode, todo in rows:
        if dir_id not in folders:
            folders[dir_id] = db.execute(sql("dir_path"), {"dir_id": dir_id}).fetchone()
        root, rel = folders[dir_id]
        path = join_path(root, rel, bytes(name))
        claimed.append(Claimed(Work(item, path, Stat(size, mtime_ns, ctime_ns, inode), todo & mask), alone))
    return claimed


def known_content(db: sqlite3.Connection, job_id: int, recipe: Recipe, sha256: bytes) -> KnownContent:
    """Look a hash up. Read-only."""
    row = db.execute(sql("content_by_sha"), {"sha256": sha256}).fetchone()
    if row is None:
        return KnownContent(0, 0)
    done = _result_bits(db, job_id, row[0])
    failed = _failure_bits(db, {ident: bit for bit, ident in recipe.ids.items()}, row[0], done)
    bodies = {name: body for bit, name in recipe.read if (body := _body(db, job_id, row[0], bit)) is not None}
    return KnownContent(done, failed, bodies)


def _body(db: sqlite3.Connection, job_id: int, content_id: int, bit: int) -> str | None:
    row = db.execute(sql("step_body"), {"job_id": job_id, "content_id": content_id, "bit": bit}).fetchone()
    return None if row is None else str(row[0])


def _result_bits(db: sqlite3.Connection, job_id: int, content_id: int) -> int:
    rows = db.execute(sql("content_bits"), {"job_id": job_id, "content_id": content_id})
    return sum(1 << bit for (bit,) in rows)


def _failure_bits(db: sqlite3.Connection, steps: dict[int, int], content_id: int, done: int) -> int:
    mask = 0
    for step_id, *_ in db.execute(sql("content_failures"), {"content_id": content_id}):
        if step_id == ALL_STEPS:
            mask |= sum(1 << bit for bit in steps.values())
        elif step_id in steps:
            mask |= 1 << steps[step_id]
    return mask & ~done


class Times:
    """Collects phases of many items into histogram buckets, four to an octave: a quantile is at most 19 % off."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, int], list[float]] = defaultdict(list)

    def add(self, ms: dict[str, float]) -> None:
        for phase, value in ms.items():
            self._buckets[phase, bucket_of(value)].append(value)

    def store(self, db: sqlite3.Connection, job_id: int) -> None:
        for (phase, bucket), values in self._buckets.items():
            row = {"n": len(values), "sum": sum(values), "min": min(values), "max": max(values)}
            db.execute(sql("add_timing"), {"job_id": job_id, "phase": phase, "bucket": bucket, **row})


def bucket_of(ms: float) -> int:
    """The histogram bucket of a time in milliseconds; below a millionth of a millisecond everything is bucket -80."""
    return math.floor(math.log2(max(ms, 1e-6)) * 4)


def commit(
    db: sqlite3.Connection, job_id: int, recipe: Recipe, batch_id: int, outcomes: Sequence[Outcome], now: int
) -> list[Committed]:
    """Store what came of items of one batch: results, failures, states, counters and the feed, all or nothing."""
    times = Times()
    reused = 0
    done: list[Committed] = []
    for outcome in outcomes:
        state = _commit_one(db, job_id, recipe, batch_id, outcome, now)
        done.append(Committed(outcome.item, state))
        times.add(outcome.ms)
        reused += state == "done" and not outcome.results
    times.store(db, job_id)
    newest = {one.state: one.item for one in done}
    marks = {"last_done": newest.get("done"), "last_failed": newest.get("failed")}
    db.execute(sql("committed"), {"job_id": job_id, "now": now, "reused": reused, **marks})
    return done


def _commit_one(
    db: sqlite3.Connection, job_id: int, recipe: Recipe, batch_id: int, outcome: Outcome, now: int
) -> ItemState | None:
    content_id = None
    if outcome.sha256 is not None and outcome.stat is not None:
        content_id = _store_results(db, recipe, batch_id, outcome, outcome.sha256, outcome.stat, now)
    row = db.execute(sql("flight"), {"item": outcome.item}).fetchone()
    if row is None:
        return None
    state, in_batch, todo, bad, old_content, ctime_ns, attempts = row
    if state != "running" or in_batch != batch_id:
        return None  # it vanished or was edited meanwhile; its results stay with their content
    if outcome.stat is not None and ctime_ns > outcome.stat.ctime_ns:
        # The walker saw a newer state of the file than the one that was read: these results are another content's.
        uncount(db, job_id, recipe, state, todo, bad)
        db.execute(sql("forget_failures"), {"item": outcome.item})
        anew = {"state": "pending", "todo": recipe.mask, "bad": 0, "pass": recipe.pass_of(recipe.mask)}
        db.execute(sql("settle_unread"), {"item": outcome.item, **anew})
        return "pending"
    if content_id is not None and old_content not in (None, content_id):
        # Edited since an earlier pass or a failure: what was done before, was done for another content.
        uncount(db, job_id, recipe, state, todo, bad)
        db.execute(sql("forget_failures"), {"item": outcome.item})
        todo, bad = recipe.mask, 0
    finished = 0 if content_id is None else _result_bits(db, job_id, content_id) & todo
    failed = _store_failures(db, recipe, outcome, content_id, todo & ~finished, attempts, now)
    left = todo & ~finished & ~failed
    new_state = move_item("running", "next_pass" if left else "fail" if bad | failed else "commit")
    change = {"item": outcome.item, "state": new_state, "todo": left, "bad": bad | failed, "pass": recipe.pass_of(left)}
    if content_id is None or outcome.stat is None:
        db.execute(sql("settle_unread"), change)
    else:
        stat = outcome.stat
        place = {"size": stat.size, "mtime_ns": stat.mtime_ns, "ctime_ns": stat.ctime_ns, "inode": stat.inode}
        db.execute(sql("settle"), {**change, **place, "content_id": content_id})
        touch(db, job_id, content_id, enter=finished != 0)
        if old_content is not None and old_content != content_id:
            touch(db, job_id, old_content)
    for bit in recipe.ids:
        if (finished | failed) >> bit & 1:
            counts = {"done": finished >> bit & 1, "failed": failed >> bit & 1}
            db.execute(sql("count_step"), {"job_id": job_id, "bit": bit, **counts})
    return new_state


def _store_results(
    db: sqlite3.Connection, recipe: Recipe, batch_id: int, outcome: Outcome, sha256: bytes, stat: Stat, now: int
) -> int:
    facts = {"format": outcome.format, "width": outcome.width, "height": outcome.height}
    (content_id,) = db.execute(sql("put_content"), {"sha256": sha256, "bytes": stat.size, **facts}).fetchone()
    for result in outcome.results:
        db.execute(
            sql("put_result"),
            {
                "content_id": content_id,
                "step_id": recipe.ids[result.bit],
                "body": result.body.decode(),
                "vector": result.vector,
                "batch_id": batch_id,
                "now": now,
            },
        )
    return int(content_id)


def _store_failures(
    db: sqlite3.Connection,
    recipe: Recipe,
    outcome: Outcome,
    content_id: int | None,
    open_steps: int,
    attempts: int,
    now: int,
) -> int:
    """Write the failures of an outcome, and those that its content brought along; returns the mask of failed steps."""
    # What cannot be read or decoded fails for the passes to come as well; a model's failure is that of its steps.
    masks = [
        (failure, open_steps & (failure.steps if failure.stage == "model" else -1)) for failure in outcome.failures
    ]
    failures = [(failure, mask) for failure, mask in masks if mask]
    known = 0
    for _, mask in failures:
        known |= mask
    if content_id is not None:
        failures += _inherited(db, recipe, content_id, open_steps & ~known)
    failed = 0
    for failure, mask in failures:
        failed |= mask
        # Of every recipe, too.
        whole = mask == open_steps and failure.stage != "model"
        for step_id in [ALL_STEPS] if whole else [recipe.ids[bit] for bit in recipe.ids if mask >> bit & 1]:
            db.execute(
                sql("put_failure"),
                {
                    "item": outcome.item,
                    "step_id": step_id,
                    "content_id": content_id if failure.content else None,
                    "kind": failure.kind,
                    "message": failure.message,
                    "stage": failure.stage,
                    "detail": failure.detail,
                    "attempts": attempts,
                    "now": now,
                },
            )
    return failed


def _inherited(db: sqlite3.Connection, recipe: Recipe, content_id: int, open_steps: int) -> list[tuple[Failure, int]]:
    bits = {ident: bit for bit, ident in recipe.ids.items()}
    inherited: list[tuple[Failure, int]] = []
    for step_id, kind, message, stage, detail in db.execute(
        sql("content_failures"), {"content_id": content_id}
    ).fetchall():
        mask = open_steps if step_id == ALL_STEPS else open_steps & (1 << bits[step_id] if step_id in bits else 0)
        if mask:
            inherited.append((Failure(mask, kind, message, stage, detail, content=True), mask))
            open_steps &= ~mask
    return inherited


def touch(db: sqlite3.Connection, job_id: int, content_id: int, *, enter: bool = False) -> None:
    """Move a key to the newest end of the feed, because something visible of it changed.

    A content without a path within the job is marked deleted. One that was never in the feed enters it only with a
    result (``enter``).
    """
    key = {"job_id": job_id, "content_id": content_id}
    if not enter and not db.execute(sql("in_feed"), key).fetchone()[0]:
        return
    (alive,) = db.execute(sql("alive"), key).fetchone()
    (seq,) = db.execute(sql("next_seq"), {"job_id": job_id}).fetchone()
    db.execute(sql("put_feed"), {**key, "seq": seq, "deleted": 1 - alive})


def uncount(db: sqlite3.Connection, job_id: int, recipe: Recipe, state: ItemState, todo: int, bad: int) -> None:
    """Take an item's committed and failed steps out of the counts per step, before it is redone or gone."""
    if state == "gone":
        return
    for bit in recipe.ids:
        if not todo >> bit & 1:
            failed = bad >> bit & 1
            counts = {"done": failed - 1, "failed": -failed}
            db.execute(sql("count_step"), {"job_id": job_id, "bit": bit, **counts})


def lose(
    db: sqlite3.Connection, job_id: int, batch_id: int, began: frozenset[int], cause: str, kind: str, now: int
) -> list[int]:
    """A worker died by itself: what it had begun is suspected, the rest of its window goes back.

    Returns the items that failed by it.
    """
    key = {"job_id": job_id, "batch_id": batch_id}
    failed = []
    for item, deaths, solo_deaths, alone, todo, attempts in db.execute(sql("batch_flights"), key).fetchall():
        lost = after_worker_death(began=item in began, alone=bool(alone), deaths=deaths, solo_deaths=solo_deaths)
        if lost.event == "fail":
            db.execute(sql("quarantine"), {"item": item, "solo_deaths": lost.solo_deaths})
            failure = {"kind": kind, "message": cause, "stage": "model", "detail": "", "attempts": attempts, "now": now}
            db.execute(sql("put_failure"), {"item": item, "step_id": ALL_STEPS, "content_id": None, **failure})
            for (bit,) in db.execute(sql("recipe_bits"), {"job_id": job_id}).fetchall():
                if todo >> bit & 1:
                    db.execute(sql("count_step"), {"job_id": job_id, "bit": bit, "done": 0, "failed": 1})
            failed.append(item)
        else:
            _give_back(db, item, move_item("running", lost.event), lost.deaths, lost.solo_deaths)
    return failed


def release(db: sqlite3.Connection, job_id: int, batch_id: int) -> None:
    """We ended a worker: its window goes back as it was."""
    key = {"job_id": job_id, "batch_id": batch_id}
    for item, deaths, solo_deaths, alone, _, _ in db.execute(sql("batch_flights"), key).fetchall():
        event = after_release(suspect=bool(alone))
        _give_back(db, item, move_item("running", event), deaths, solo_deaths)


def recover(db: sqlite3.Connection, job_id: int, epoch: int) -> int:
    """Take back what earlier epochs had in flight; returns how many items that were."""
    stranded = db.execute(sql("stranded"), {"job_id": job_id, "epoch": epoch}).fetchall()
    for item, deaths, solo_deaths, suspect in stranded:
        lost = after_daemon_death(deaths=deaths, suspect=bool(suspect))
        _give_back(db, item, move_item("running", lost.event), lost.deaths, solo_deaths)
    return len(stranded)


def _give_back(db: sqlite3.Connection, item: int, state: ItemState, deaths: int, solo_deaths: int) -> None:
    suspect_step = -1 if state == "suspect" else None
    db.execute(
        sql("give_back"),
        {"item": item, "state": state, "deaths": deaths, "solo_deaths": solo_deaths, "suspect_step": suspect_step},
    )


def retry(
    db: sqlite3.Connection, job_id: int, recipe: Recipe, after: int, kind: str | None, only: frozenset[int] | None
) -> tuple[int, int | None]:
    """One page of failed items becomes pending; returns how many, and the cursor for the next page (None: the end).

    That a content failed is forgotten for every copy of it. ``kind`` and ``only`` (item ids) narrow.
    """
    page = db.execute(sql("failed_page"), {"job_id": job_id, "after": after, "limit": 500}).fetchall()
    count = 0
    for item, content_id, bad in page:
        kinds = {row[1] for row in db.execute(sql("item_failures"), {"item": item})}
        if (only is not None and item not in only) or (kind is not None and kind not in kinds):
            continue
        if content_id is not None:
            db.execute(sql("forget_content_failures"), {"content_id": content_id})
        db.execute(sql("forget_failures"), {"item": item})
        db.execute(sql("retry"), {"item": item, "pass": recipe.pass_of(bad)})
        for bit in recipe.ids:
            if bad >> bit & 1:
                db.execute(sql("count_step"), {"job_id": job_id, "bit": bit, "done": 0, "failed": -1})
        count += 1
    return count, page[-1][0] if len(page) == 500 else None
