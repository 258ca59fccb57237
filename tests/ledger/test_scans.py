"""What a walk brings meets what workers bring, in any order, on a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ingestd.ledger import items, jobs, scans
from ingestd.protocol.walk import Entry, ScanEnd, WalkError
from tests.ledger.books import DESCRIBE, EMBED, META, Books, books, broken, made, sha, stat

ALL = META | EMBED | DESCRIBE


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Books]:
    with books(tmp_path) as kept:
        yield kept
        kept.check_tally()


def test_a_file_offered_twice_is_one_item(b: Books) -> None:
    """Two walks, or two spellings of a root, meet in one row; the second brings a change at most."""
    (item,) = b.found(b"a")
    assert b.listed([Entry(b"a", stat(2))]) == scans.Applied(0, 1, 0)
    assert b.column(item, "mtime_ns") == 2
    assert b.db.execute("SELECT count(*) FROM item").fetchone() == (1,)


def test_an_edit_moves_the_path_to_another_content(b: Books) -> None:
    """The old content has lost its only path and is marked deleted; the new one has entered; nothing is done twice."""
    (item,) = b.found(b"a")
    b.run(item, "A", ALL)
    b.edited(item, 2)
    assert b.state(item) == "pending"
    assert b.feed()[sha("A")][1] == 0, "until the new bytes are read, the path still shows what is known"
    b.run(item, "B", ALL, version=2)
    feed = b.feed()
    assert (feed[sha("A")][1], feed[sha("B")][1]) == (1, 0)
    assert b.counts() == [(1, 0)] * 3


def test_an_edit_of_one_copy_leaves_the_other(b: Books) -> None:
    """The content stays alive with the path that it still has."""
    one, two = b.found(b"a", b"b")
    b.claim()
    b.commit(made(one, "A", ALL), made(two, "A", 0))
    b.edited(one, 2)
    b.run(one, "B", ALL, version=2)
    assert b.feed()[sha("A")][1] == 0


def test_a_vanished_content_is_deleted_and_its_return_costs_nothing(b: Books) -> None:
    """Its results stay: the file that comes back is done without a step."""
    (item,) = b.found(b"a")
    b.run(item, "A", ALL)
    b.vanished(item)
    assert b.state(item) == "gone"
    assert b.feed()[sha("A")][1] == 1
    assert b.counts() == [(0, 0)] * 3
    b.edited(item, 1)
    assert b.feed()[sha("A")][1] == 0
    assert items.known_content(b.db, b.job, b.recipe(), sha("A")).done == ALL
    assert b.run(item, "A", 0).state == "done"


def test_a_file_edited_while_it_is_read_is_read_again(b: Books) -> None:
    """An outcome older than what the walker has seen since keeps its results, and the item goes back whole."""
    (item,) = b.found(b"a")
    b.claim()
    b.edited(item, 5)
    assert b.state(item) == "running"
    assert b.commit(made(item, "A", ALL, version=1))[0].state == "pending"
    assert b.column(item, "todo") == ALL
    assert b.counts() == [(0, 0)] * 3
    assert b.run(item, "B", ALL, version=5).state == "done"
    assert sha("A") not in b.feed()


def test_an_edit_between_two_passes_undoes_the_first(b: Books) -> None:
    """The counts per step and the failures of a first pass go with the bytes that they were about."""
    (item,) = b.found(b"a")
    b.claim()
    outcome = made(item, "A", META)
    outcome.failures = broken(item, "A", EMBED, "model", "model").failures
    b.commit(outcome)
    assert b.counts() == [(1, 0), (0, 1), (0, 0)]
    b.claim()
    b.edited(item, 9)
    assert b.commit(made(item, "A", DESCRIBE))[0].state == "pending"
    assert b.failures(item) == []
    assert b.run(item, "B", ALL, version=9).state == "done"
    assert b.failures(item) == []


def test_a_file_that_vanishes_while_it_is_read_stays_gone(b: Books) -> None:
    """The late outcome keeps its results with the content; no item, no count and no key in the feed moves."""
    (item,) = b.found(b"a")
    b.claim()
    b.vanished(item)
    assert b.commit(made(item, "A", ALL))[0].state is None
    assert b.state(item) == "gone"
    assert b.feed() == {}
    b.edited(item, 1)
    assert b.run(item, "A", 0).state == "done"


def test_an_edited_failure_is_tried_whole(b: Books) -> None:
    """Other bytes, other luck: what failed is forgotten, and its count with it."""
    (item,) = b.found(b"a")
    b.claim()
    b.commit(broken(item, "A", ALL))
    assert b.counts() == [(0, 1)] * 3
    b.edited(item, 2)
    assert b.counts() == [(0, 0)] * 3
    assert b.failures(item) == []
    assert b.run(item, "B", ALL, version=2).state == "done"


def _end(b: Books, scan: int, *errors: WalkError, interrupted: bool = False) -> bool:
    report = ScanEnd(not errors, False, 0, {"video": 2}, list(errors))
    return scans.end(b.db, b.job, scan, report, interrupted, b.now)


def _owed(b: Books) -> bool:
    return jobs.row(b.db, b.job).rescan


def test_a_walk_pays_what_was_owed_when_it_began(b: Books) -> None:
    """An interrupted walk pays nothing, nor one whose source was away; a folder that could not be listed is told."""
    assert not _end(b, b.scan, interrupted=True)
    assert not _end(b, scans.begin(b.db, b.job, b.now), WalkError(b"/photos", "away", True))
    assert _owed(b)
    assert _end(b, scans.begin(b.db, b.job, b.now), WalkError(b"/photos/x", "no permission", False))
    assert not _owed(b)
    assert jobs.tally(b.db, b.job).skipped == 2


def test_a_start_during_a_walk_owes_another(b: Books) -> None:
    """The walk under way may have passed what the new start asks for, and runs with the old limit."""
    row = jobs.row(b.db, b.job)
    jobs.change_request(b.db, b.job, row.spec, list(row.sinks), b.now)
    jobs.change_request(b.db, b.job, row.spec, list(row.sinks), b.now)
    assert _end(b, b.scan)
    assert _owed(b)
    assert _end(b, scans.begin(b.db, b.job, b.now))
    assert not _owed(b)


class Years(RuleBasedStateMachine):
    """Whatever happens to some files over the years, every counter is what the rows say, and the feed what is alive."""

    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.keeper = books(self.folder)
        for file in self.folder.iterdir():
            file.unlink()
        self.b = self.keeper.__enter__()
        self.version = 1

    names = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])

    def items(self, *states: str) -> list[int]:
        marks = ",".join("?" * len(states))
        return [row[0] for row in self.b.db.execute(f"SELECT id FROM item WHERE state IN ({marks})", states)]

    @rule(names=st.sets(names, min_size=1))
    def found(self, names: set[bytes]) -> None:
        self.b.found(*sorted(names))

    @rule(name=names)
    def changed(self, name: bytes) -> None:
        self.version += 1
        self.b.listed([Entry(name, stat(self.version))])

    @precondition(lambda self: self.items("pending", "running", "suspect", "done", "failed"))
    @rule(data=st.data())
    def vanished(self, data: st.DataObject) -> None:
        self.b.vanished(data.draw(st.sampled_from(self.items("pending", "running", "suspect", "done", "failed"))))

    @rule(limit=st.integers(1, 5))
    def claimed(self, limit: int) -> None:
        self.b.claim(limit)

    @rule()
    def suspect_claimed(self) -> None:
        self.b.claim_suspect(self.b.batch)

    @precondition(lambda self: self.items("running"))
    @rule(
        data=st.data(), content=st.sampled_from("ABC"), steps=st.integers(0, 7), failed=st.integers(0, 7),
        old=st.booleans(), stage=st.sampled_from(["decode", "model"]),
    )  # fmt: skip
    def outcome(self, data: st.DataObject, content: str, steps: int, failed: int, old: bool, stage: str) -> None:
        item = data.draw(st.sampled_from(self.items("running")))
        outcome = made(item, content, steps, self.version - old)
        if failed & ~steps:
            outcome.failures = broken(item, content, failed & ~steps, "model", stage).failures
        self.b.commit(outcome)

    @precondition(lambda self: self.items("running"))
    @rule(data=st.data())
    def unreadable(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.items("running")))
        self.b.commit(broken(item, None, ALL, "unreadable", "read"))

    @rule(began=st.sets(st.integers(1, 5)))
    def worker_died(self, began: set[int]) -> None:
        items.lose(self.b.db, self.b.job, self.b.batch, frozenset(began), "SIGKILL", "crash", self.b.now)
        self.b.batch = self.b.begin_batch()

    @rule()
    def released(self) -> None:
        items.release(self.b.db, self.b.job, self.b.batch)
        self.b.batch = self.b.begin_batch()

    @rule()
    def daemon_died(self) -> None:
        self.b.epoch = jobs.begin_epoch(self.b.db, self.b.now, 1, "test")
        self.b.batch = self.b.begin_batch()

    @rule()
    def retried(self) -> None:
        items.retry(self.b.db, self.b.job, self.b.recipe(), 0, None, None)

    @invariant()
    def counters(self) -> None:
        self.b.check_tally()

    @invariant()
    def feed(self) -> None:
        rows = self.b.db.execute("SELECT count(*), count(DISTINCT seq), coalesce(max(seq), 0) FROM feed").fetchone()
        assert rows[0] == rows[1]
        assert rows[2] <= jobs.tally(self.b.db, self.b.job).feed_seq
        wrong = self.b.db.execute(
            "SELECT content_id, deleted FROM feed WHERE deleted = EXISTS"
            " (SELECT 1 FROM item WHERE item.content_id = feed.content_id AND state <> 'gone')"
        ).fetchall()
        assert not wrong, "a key is alive without a path, or deleted with one"

    @invariant()
    def failures(self) -> None:
        """A done item has no failure, a failed one has a reason."""
        done = "SELECT 1 FROM item JOIN failure ON item_id = id WHERE state = 'done'"
        assert not self.b.db.execute(done).fetchall()
        failed = "SELECT 1 FROM item WHERE state = 'failed' AND NOT EXISTS (SELECT 1 FROM failure WHERE item_id = id)"
        assert not self.b.db.execute(failed).fetchall()

    def teardown(self) -> None:
        self.keeper.__exit__(None, None, None)


def test_counters_and_feed_hold_over_the_years(tmp_path: Path) -> None:
    """See ``Years``."""
    Years.folder = tmp_path
    run_state_machine_as_test(
        Years,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )  # fmt: skip
