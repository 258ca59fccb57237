"""Claims, commits, losses and retries on a real ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ingestd.ledger import items, jobs
from ingestd.policy.states import ITEM_MOVES
from ingestd.protocol.work import Step
from tests.ledger.books import DESCRIBE, EMBED, META, Books, books, broken, made, refused, sha, stat


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Books]:
    """A ledger that a test may write into by hand."""
    with books(tmp_path) as kept:
        yield kept


@pytest.fixture
def b(raw: Books) -> Iterator[Books]:
    """A ledger whose counters must be right in the end."""
    yield raw
    raw.check_tally()


def lose(b: Books, began: set[int], batch: int | None = None, kind: str = "crash") -> None:
    items.lose(b.db, b.job, batch or b.batch, frozenset(began), "it was ended by SIGSEGV", kind, b.now)


# ------------------------------------------------------------------------------------------------------------- claims


def test_claims_go_by_pass_then_time_then_id(raw: Books) -> None:
    """The lowest pass first; within it what may start earliest; then the oldest item."""
    one, two, three, four = raw.found(b"1", b"2", b"3", b"4")
    raw.db.execute("UPDATE item SET pass = 1, todo = ? WHERE id = ?", (DESCRIBE, one))
    raw.db.execute("UPDATE item SET not_before = 1 WHERE id = ?", (two,))
    assert [c.work.item for c in raw.claim(2)] == [three, four]
    assert [c.work.item for c in raw.claim(2)] == [two]
    assert [c.work.item for c in raw.claim(2)] == [one]
    assert raw.claim(2) == []


def test_items_that_must_wait_do_not_keep_a_later_pass(raw: Books) -> None:
    """The lowest pass is that of the items which may start: else nobody would be claimed until their time."""
    one, two = raw.found(b"1", b"2")
    raw.db.execute("UPDATE item SET pass = 1, todo = ? WHERE id = ?", (DESCRIBE, one))
    raw.db.execute("UPDATE item SET not_before = ? WHERE id = ?", (1 << 60, two))
    assert [c.work.item for c in raw.claim(2)] == [one]
    assert raw.claim(2) == []


def test_two_claims_never_overlap(b: Books) -> None:
    """An item belongs to one batch from its claim to its commit."""
    b.found(*(b"%d" % n for n in range(50)))
    other = b.begin_batch()
    seen = [c.work.item for _ in range(4) for batch in (b.batch, other) for c in b.claim(7, batch)]
    assert len(seen) == len(set(seen)) == 50
    assert {b.column(item, "attempts") for item in seen} == {1}


def test_a_claim_says_where_the_file_lies_and_how_it_was(b: Books) -> None:
    """Path, stat and mask reach the worker as the walker saw them, bytes that are no text included."""
    b.found(b"\xff.jpg", version=3, rel=b"a/\xfe")
    (claimed,) = b.claim()
    assert claimed.work.path == b"/photos/a/\xfe/\xff.jpg"
    assert claimed.work.stat == stat(3)
    assert claimed.work.todo == META | EMBED, "the steps of its pass"
    assert not claimed.alone


# ------------------------------------------------------------------------------------------------------------ commits


def test_a_partial_pass_goes_back_with_what_is_left(b: Books) -> None:
    """Each pass is one commit; the item is done when no step is left, and the feed moves each time."""
    (item,) = b.found(b"a")
    assert b.run(item, "A").state == "pending"
    assert (b.column(item, "todo"), b.column(item, "pass")) == (DESCRIBE, 1)
    first = b.feed()[sha("A")]
    assert b.run(item, "A", DESCRIBE).state == "done"
    assert b.feed()[sha("A")] > first
    assert b.counts() == [(1, 0), (1, 0), (1, 0)]
    assert b.column(item, "attempts") == 2


def test_an_edit_between_passes_begins_again(b: Books) -> None:
    """A file that was edited and not walked since is read anew by the second pass: its first pass is owed again."""
    (item,) = b.found(b"a")
    b.run(item, "A")
    assert b.run(item, "B", DESCRIBE, version=2).state == "pending"
    assert (b.column(item, "todo"), b.column(item, "pass")) == (META | EMBED, 0)
    assert b.counts() == [(0, 0), (0, 0), (1, 0)]
    assert (b.feed()[sha("A")][1], b.feed()[sha("B")][1]) == (1, 0)
    assert b.run(item, "B", META | EMBED, version=2).state == "done"


def test_an_edit_before_a_retry_begins_again(b: Books) -> None:
    """What failed, failed for other bytes: the steps that were done before are done for the new ones as well."""
    (item,) = b.found(b"a")
    b.claim()
    failed = broken(item, "A", DESCRIBE, kind="model", stage="model")
    b.commit(msgspec.structs.replace(made(item, "A", META | EMBED), failures=failed.failures))
    assert items.retry(b.db, b.job, b.recipe(), 0, None, None)[0] == 1
    assert b.run(item, "B", DESCRIBE, version=2).state == "pending"
    assert b.failures(item) == []
    assert b.run(item, "B", META | EMBED, version=2).state == "done"


def test_a_failed_step_leaves_the_others(b: Books) -> None:
    """An item with one bad step is failed, with a failure of that step alone; its other results are in the feed."""
    (item,) = b.found(b"a")
    b.claim()
    outcome = made(item, "A", META | DESCRIBE)
    outcome.failures = broken(item, "A", EMBED, "model", "model").failures
    assert b.commit(outcome)[0].state == "failed"
    embed = jobs.steps(b.db, b.job)[1].id
    assert b.failures(item) == [(embed, "model")]
    assert b.feed()[sha("A")][1] == 0
    assert b.counts() == [(1, 0), (0, 1), (1, 0)]


def test_a_models_failure_is_not_another_recipes(b: Books) -> None:
    """That one model failed for some bytes says nothing of another model: a second job tries its own."""
    (item,) = b.found(b"a")
    b.claim()
    outcome = made(item, "A", META | DESCRIBE)
    outcome.failures = broken(item, "A", EMBED, "model", "model").failures
    b.commit(outcome)
    other = b.add_job("two", [Step(0, "meta", "meta-1", {}), Step(1, "embed", "embed-2", {"dim": 3})])
    assert items.known_content(b.db, other, b.recipe(other), sha("A"))[:2] == (META, 0)


def test_what_cannot_be_decoded_fails_for_every_pass(b: Books) -> None:
    """A worker knows the steps of its pass alone; the next pass does not open a broken file again."""
    (item,) = b.found(b"a.jpg")
    b.claim()
    b.commit(broken(item, "A", META | EMBED))
    assert (b.state(item), b.failures(item)) == ("failed", [(items.ALL_STEPS, "corrupt")])


def test_a_models_failure_is_that_of_its_steps(b: Books) -> None:
    """An embedder that raises leaves the description to the next pass; the item fails when that is through."""
    (item,) = b.found(b"a.jpg")
    b.claim()
    failed = broken(item, "A", EMBED, kind="model", stage="model")
    b.commit(msgspec.structs.replace(made(item, "A", META), failures=failed.failures))
    assert (b.state(item), b.column(item, "todo"), b.column(item, "bad")) == ("pending", DESCRIBE, EMBED)
    b.run(item, "A", DESCRIBE)
    assert b.state(item) == "failed"


def test_bytes_that_cannot_be_decoded_fail_every_recipe(b: Books) -> None:
    """A corrupt file is opened once: its copies fail with the same words, in every job, without being tried."""
    one, two = b.found(b"a", b"b")
    b.claim()
    b.commit(broken(one, "A", META | EMBED | DESCRIBE))
    assert items.known_content(b.db, b.job, b.recipe(), sha("A"))[:2] == (0, META | EMBED | DESCRIBE)
    copy = made(two, "A", 0)
    assert b.commit(copy)[0].state == "failed"
    assert b.failures(one) == b.failures(two) == [(items.ALL_STEPS, "corrupt")]
    other = b.add_job("two", [Step(0, "embed", "embed-2", {"dim": 3})])
    assert items.known_content(b.db, other, b.recipe(other), sha("A"))[:2] == (0, 1)
    assert b.feed() == {}


def test_a_copy_needs_no_result_of_its_own(b: Books) -> None:
    """A copy is done by the results that its content has; it counts as reused; the key moves in the feed."""
    one, two = b.found(b"a", b"b")
    b.claim()
    b.commit(made(one, "A", META | EMBED | DESCRIBE))
    seq, _ = b.feed()[sha("A")]
    assert b.commit(made(two, "A", 0))[0].state == "done"
    assert b.feed() == {sha("A"): (seq + 1, 0)}
    assert jobs.tally(b.db, b.job).reused == 1
    assert b.db.execute("SELECT count(*) FROM result").fetchone() == (3,)


def test_an_unreadable_file_fails_without_a_content(b: Books) -> None:
    """What could not be read has no hash: nothing is said of its bytes or its copies."""
    (item,) = b.found(b"a")
    b.claim()
    assert b.commit(broken(item, None, META | EMBED | DESCRIBE, "unreadable", "read"))[0].state == "failed"
    assert b.column(item, "content_id") is None
    assert b.db.execute("SELECT count(*) FROM content").fetchone() == (0,)


def test_a_commit_of_another_batch_changes_no_item(b: Books) -> None:
    """A late outcome of a batch that lost the item keeps its results and leaves the item alone."""
    (item,) = b.found(b"a")
    late = b.begin_batch()
    b.claim()
    assert b.commit(made(item, "A", META), batch=late)[0].state is None
    assert b.state(item) == "running"
    assert b.db.execute("SELECT count(*) FROM result").fetchone() == (1,)


def test_the_feed_stays_compact(b: Books) -> None:
    """One row per key however often it moves, and every seq is given once, ever upwards."""
    item, copy = b.found(b"a", b"b")
    b.claim()
    b.commit(made(item, "A", META | EMBED | DESCRIBE), made(copy, "A", 0))
    for version in range(2, 12):
        b.vanished(copy)
        b.edited(copy, version)
        b.claim()
        b.commit(made(copy, "A", 0, version))
    rows = b.db.execute("SELECT count(*), count(DISTINCT seq), max(seq) FROM feed").fetchone()
    assert rows == (1, 1, jobs.tally(b.db, b.job).feed_seq)


# ------------------------------------------------------------------------------------------------ losses and releases


def test_a_worker_death_suspects_what_it_had_begun(b: Books) -> None:
    """Only an item in hand can be the cause; the rest of the window goes back as it was."""
    one, two, three = b.found(b"1", b"2", b"3")
    b.claim()
    lose(b, {two})
    assert [b.state(item) for item in (one, two, three)] == ["pending", "suspect", "pending"]
    alone = b.claim_suspect(b.begin_batch())
    assert [(c.work.item, c.alone) for c in alone] == [(two, True)]


def test_two_deaths_alone_quarantine(b: Books) -> None:
    """Alone twice, it is the cause: failed by name, with the kind, at every step it still had."""
    (item,) = b.found(b"a")
    b.claim()
    lose(b, {item})
    for expected in ("suspect", "failed"):
        batch = b.begin_batch()
        b.claim_suspect(batch)
        lose(b, {item}, batch, "oom")
        assert b.state(item) == expected
    assert b.failures(item) == [(items.ALL_STEPS, "oom")]
    assert b.counts() == [(0, 1)] * 3
    assert b.column(item, "attempts") == 3


def test_a_suspect_that_is_released_stays_one(b: Books) -> None:
    """A pause proves nothing: the suspect is tried alone again; others are plainly pending, with no death counted."""
    one, two = b.found(b"1", b"2")
    b.claim()
    lose(b, {one})
    batch = b.begin_batch()
    b.claim_suspect(batch)
    b.claim(1, batch)
    items.release(b.db, b.job, batch)
    assert (b.state(one), b.state(two)) == ("suspect", "pending")
    assert (b.column(one, "solo_deaths"), b.column(two, "deaths")) == (0, 0)


def test_a_suspect_that_succeeds_is_cleared(b: Books) -> None:
    """What went well alone was not the cause: nothing of the suspicion stays."""
    (item,) = b.found(b"a")
    b.claim()
    lose(b, {item})
    batch = b.begin_batch()
    b.claim_suspect(batch)
    assert b.commit(made(item, "A", META | EMBED | DESCRIBE), batch=batch)[0].state == "done"
    assert b.column(item, "suspect_step") is None


def test_an_item_is_suspected_at_its_third_death_with_the_daemon(b: Books) -> None:
    """Twice in flight while the machine died is an accident, three times is a trace."""
    (item,) = b.found(b"a")
    for expected in ("pending", "pending", "suspect"):
        b.claim(1, b.begin_batch())
        b.epoch = jobs.begin_epoch(b.db, b.now, 2, "test")
        assert b.state(item) == expected
    assert b.column(item, "deaths") == 3


def test_a_claim_of_this_epoch_is_never_taken_back(b: Books) -> None:
    """Recovery looks at earlier epochs alone."""
    (item,) = b.found(b"a")
    b.claim()
    assert items.recover(b.db, b.job, b.epoch) == 0
    assert b.state(item) == "running"
    assert items.recover(b.db, b.job, b.epoch + 1) == 1


# ------------------------------------------------------------------------------------------------ retries and removal


def test_retry_tries_the_bad_steps_alone(b: Books) -> None:
    """What was made stays made; the copies of the content may be tried again too; the counts follow."""
    one, two = b.found(b"a", b"b")
    b.claim()
    outcome = made(one, "A", META | DESCRIBE)
    outcome.failures = broken(one, "A", EMBED, "model", "model").failures
    b.commit(outcome, made(two, "A", 0))
    assert b.counts() == [(2, 0), (0, 2), (2, 0)]
    count, after = items.retry(b.db, b.job, b.recipe(), 0, "model", frozenset([one]))
    assert (count, after) == (1, None)
    assert (b.state(one), b.state(two)) == ("pending", "failed")
    assert b.column(one, "todo") == EMBED
    assert items.known_content(b.db, b.job, b.recipe(), sha("A"))[:2] == (META | DESCRIBE, 0)
    assert b.run(one, "A", EMBED).state == "done"
    assert b.failures(one) == []


def test_retry_of_another_kind_changes_nothing(b: Books) -> None:
    """``--kind`` narrows."""
    (item,) = b.found(b"a")
    b.claim()
    b.commit(broken(item, "A", META | EMBED | DESCRIBE))
    assert items.retry(b.db, b.job, b.recipe(), 0, "oom", None) == (0, None)
    assert b.state(item) == "failed"


def test_removing_a_job_leaves_the_other_jobs_contents(b: Books) -> None:
    """A content goes with its last item, whoever's that is; nothing that points at what is gone stays."""
    (item,) = b.found(b"a")
    b.run(item, "A", META | EMBED | DESCRIBE)
    other = b.add_job("two")
    mine, only = b.found(b"a", b"b", job=other)
    batch = b.begin_batch(other)
    b.claim(batch=batch, job=other)
    b.commit(made(mine, "A", 0), made(only, "B", META | EMBED | DESCRIBE), batch=batch, job=other)
    while jobs.remove_page(b.db, other):
        pass
    assert b.db.execute("SELECT sha256 FROM content").fetchall() == [(sha("A"),)]
    assert [row.id for row in jobs.rows(b.db)] == [b.job]
    assert b.db.execute("PRAGMA foreign_key_check").fetchall() == []


# ---------------------------------------------------------------------------------------------------- what is refused


def test_the_ledger_holds_the_table_of_moves(b: Books) -> None:
    """The trigger's table is ``policy.states.ITEM_MOVES``, no more and no less."""
    rows = set(b.db.execute("SELECT old, new FROM item_move"))
    assert rows == {(old, new) for old, moves in ITEM_MOVES.items() for new in moves.values() if old != new}


@pytest.mark.parametrize(
    ("old", "new"),
    [(old, new) for old in ITEM_MOVES for new in ITEM_MOVES if old != new and new not in ITEM_MOVES[old].values()],
)
def test_an_illegal_move_is_refused(raw: Books, old: str, new: str) -> None:
    """No code path can get round the table: the ledger itself refuses."""
    row = {
        "pending": (7, 0, None, None), "running": (7, 0, 1, None), "suspect": (7, 0, None, None),
        "done": (0, 0, None, None), "failed": (0, 7, None, None), "gone": (0, 0, None, 1),
    }  # fmt: skip
    insert = (
        "INSERT INTO item(job_id, dir_id, name, size, mtime_ns, ctime_ns, inode, state, todo, bad, batch_id, gone_at)"
        " VALUES (?, 1, ?, 1, 1, 1, 1, ?, ?, ?, ?, ?)"
    )
    raw.found(b"so that there is a folder")
    raw.db.execute(insert, (raw.job, b"x", old, *row[old]))  # type: ignore[index]
    todo, bad, batch, gone = row[new]
    said = refused(
        raw.db, "UPDATE item SET state = ?, todo = ?, bad = ?, batch_id = ?, gone_at = ? WHERE name = ?",
        new, todo, bad, batch, gone, b"x",
    )  # fmt: skip
    assert said == "illegal move of an item"


@pytest.mark.parametrize(
    "change",
    [
        "state = 'done', todo = 1",
        "state = 'failed', todo = 0, bad = 0",
        "todo = 0",
        "batch_id = 7",
        "gone_at = 7",
        "state = 'lost'",
    ],
)
def test_a_row_that_contradicts_itself_is_refused(b: Books, change: str) -> None:
    """The CHECKs hold between the columns of an item."""
    (item,) = b.found(b"a")
    with pytest.raises(sqlite3.IntegrityError) as refusal:
        b.db.execute(f"UPDATE item SET {change} WHERE id = ?", (item,))
    assert refusal.value.sqlite_errorname == "SQLITE_CONSTRAINT_CHECK"
