"""How a request's job is found: by name or uuid, the newest, the only active one; and what is said when it is not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingestd.control.jobbook import Jobbook
from ingestd.errors import EXIT_USAGE, IngestError
from ingestd.kinds.sinks import SinkSpec
from ingestd.ledger import jobs
from ingestd.ledger.ledger import Ledger
from ingestd.ledger.report import JobFacts
from ingestd.policy.state import JobView, View
from ingestd.records import JobRow, RootRef, Tally
from ingestd.supervisor.loop import Supervisor
from tests.jobkit import job_spec

ADA, BOB, CYD = ("ada", "completed"), ("bob", "running"), ("cyd", "stopped")
Question = Callable[[Jobbook], Coroutine[Any, Any, JobFacts | list[JobFacts]]]


@dataclass
class FreshLedgers:
    """Makes a real ledger for each question. The uuid of the first job is ``uuid-1``."""

    folder: Path
    made: int = 0

    def ask(self, question: Question, *known: tuple[str, str], removing: tuple[str, ...] = ()) -> list[str]:
        """Uuids of the jobs in the answer. ``known``: names and statuses, the oldest first."""
        self.made += 1
        answer = asyncio.run(self._ask(question, known, removing))
        return [facts.row.uuid for facts in (answer if isinstance(answer, list) else [answer])]

    async def _ask(self, question: Question, known: tuple[tuple[str, str], ...], removing: tuple[str, ...]) -> Any:
        ledger = Ledger(self.folder / f"ledger-{self.made}.db", 1)
        try:
            view = View()
            for row, tally in await ledger.write(lambda db: _add(db, known)):
                view.jobs[row.id] = JobView.of(row, tally, True, {})
                view.jobs[row.id].removing = row.name in removing
            return await question(Jobbook(cast(Supervisor, SimpleNamespace(ledger=ledger, view=view, recent={}))))
        finally:
            ledger.close()


def _add(db: sqlite3.Connection, known: tuple[tuple[str, str], ...]) -> list[tuple[JobRow, Tally]]:
    (root,) = jobs.add_roots(db, [(b"/photos", 1, "ext4")])
    for number, (name, status) in enumerate(known, 1):
        row = jobs.add(
            db, uuid=f"uuid-{number}", name=name, refs=[RootRef(root)], spec=job_spec(),
            sinks=[SinkSpec("jsonl", "jsonl")], actor="", now=number,
        )  # fmt: skip
        jobs.set_status(db, row.id, cast(Any, status), "", "", number)
    return [(row, jobs.tally(db, row.id)) for row in jobs.rows(db)]


@pytest.fixture
def ledgers(tmp_path: Path) -> FreshLedgers:
    return FreshLedgers(tmp_path)


@pytest.mark.parametrize(
    ("spelling", "uuid"),
    [(None, "uuid-3"), ("ada", "uuid-1"), ("uuid-2", "uuid-2"), ("cyd", "uuid-3")],
)
def test_one_job(ledgers: FreshLedgers, spelling: str | None, uuid: str) -> None:
    """By name, by uuid, and the newest where none is named; a stopped one too."""
    assert ledgers.ask(lambda book: book.one(spelling, "show"), ADA, BOB, CYD) == [uuid]


def test_of_jobs_with_one_name_the_one_that_is_not_stopped_is_meant(ledgers: FreshLedgers) -> None:
    """A name is free again when its job is stopped; of several stopped ones the newest has it."""
    stopped, living = ("ada", "stopped"), ("ada", "paused")
    assert ledgers.ask(lambda book: book.one("ada", "show"), stopped, living) == ["uuid-2"]
    assert ledgers.ask(lambda book: book.one("ada", "show"), stopped, stopped) == ["uuid-2"]


def test_a_uuid_may_be_cut_short(ledgers: FreshLedgers) -> None:
    """As long as it has four characters and is the beginning of one job's alone."""
    assert ledgers.ask(lambda book: book.one("uuid", "show"), ADA) == ["uuid-1"]
    with pytest.raises(IngestError, match="no job has that name"):
        ledgers.ask(lambda book: book.one("uui", "show"), ADA)
    with pytest.raises(IngestError, match="several jobs begin so"):
        ledgers.ask(lambda book: book.one("uuid", "show"), ADA, BOB)


def test_a_name_that_no_job_has_lists_the_jobs(ledgers: FreshLedgers) -> None:
    """The error is one of usage, says what cannot be done, and lists the names."""
    with pytest.raises(IngestError) as caught:
        ledgers.ask(lambda book: book.one("eve", "sum up"), ADA, BOB)
    error = caught.value
    assert (error.operation, error.object, error.exit) == ("sum up", "the job eve", EXIT_USAGE)
    assert error.remedy == "The jobs are: bob, ada"


def test_a_job_that_is_being_removed_is_none(ledgers: FreshLedgers) -> None:
    """It is in no answer; where it was the only one, there is none yet."""
    assert ledgers.ask(lambda book: book.facts(), ADA, BOB, CYD, removing=("cyd",)) == ["uuid-2", "uuid-1"]
    assert ledgers.ask(lambda book: book.one(None, "show"), ADA, BOB, removing=("bob",)) == ["uuid-1"]
    with pytest.raises(IngestError, match="no job has that name"):
        ledgers.ask(lambda book: book.one("bob", "show"), ADA, BOB, removing=("bob",))
    with pytest.raises(IngestError, match="there is none yet"):
        ledgers.ask(lambda book: book.one(None, "show"), ADA, removing=("ada",))


def test_the_only_active_job_need_not_be_named(ledgers: FreshLedgers) -> None:
    """With ``every`` all active ones are meant; of several without it, the choices are told; a name is always good."""
    paused = ("dan", "paused")
    assert ledgers.ask(lambda book: book.several(None, False, "pause"), ADA, BOB, CYD) == ["uuid-2"]
    assert ledgers.ask(lambda book: book.several(None, True, "pause"), ADA, BOB, paused) == ["uuid-3", "uuid-2"]
    assert ledgers.ask(lambda book: book.several("ada", False, "pause"), ADA, BOB, paused) == ["uuid-1"]
    with pytest.raises(IngestError, match="several jobs are active") as caught:
        ledgers.ask(lambda book: book.several(None, False, "pause"), ADA, BOB, paused)
    assert caught.value.remedy == "Name one of dan, bob, or give --all"


def test_without_an_active_job_the_only_one_is_meant(ledgers: FreshLedgers) -> None:
    """So that a repeated ``stop`` is no error; with several at rest it is one."""
    assert ledgers.ask(lambda book: book.several(None, False, "stop"), CYD) == ["uuid-1"]
    with pytest.raises(IngestError, match="no job is active"):
        ledgers.ask(lambda book: book.several(None, False, "stop"), ADA, CYD)
