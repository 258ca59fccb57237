"""Which job a ``start`` request means: by its name, else by its sources; never a stopped one."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd import config
from ingestd.control.start import asked_job
from ingestd.control.start.known_job import known_job
from ingestd.errors import IngestError
from ingestd.policy.state import JobView, View
from ingestd.protocol import control as c
from ingestd.records import JobRow, RootRef, Tally

A, B, ONE_FILE = RootRef(1), RootRef(2), RootRef(1, b"one.jpg")
NOTHING = Tally(0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None)


def job(ident: int, name: str, *roots: RootRef, status: Any = "completed", **asked: Any) -> JobRow:
    spec, sinks, _ = asked_job.of_new(c.Start(**asked), config.load({}, None, "config.toml"))
    return JobRow(ident, f"uuid-{ident}", name, roots, spec, True, tuple(sinks), status, "", "", None, 0, 0, 0, False)


def found(params: c.Start, roots: list[RootRef], *rows: JobRow, removing: tuple[int, ...] = ()) -> str | None:
    """The name of the job that the request means among ``rows``."""
    views = {row.id: JobView.of(row, NOTHING, True, {}) for row in rows}
    for ident in removing:
        views[ident].removing = True
    known = known_job(rows, View(jobs=views), params, roots)
    return known.name if known else None


def test_a_job_is_known_by_its_set_of_sources() -> None:
    """The order does not count; fewer, more or other sources are another job."""
    rows = (job(1, "both", A, B), job(2, "file", ONE_FILE))
    assert found(c.Start(), [B, A], *rows) == "both"
    assert found(c.Start(), [ONE_FILE], *rows) == "file"
    assert found(c.Start(), [A], *rows) is None


def test_a_list_is_known_by_its_content() -> None:
    """By its hash, wherever it lies; a list of files is not the folder that it stands for."""
    listed = job(1, "list", A, list_file="/spool/one", list_sha256="0" * 64)
    assert found(c.Start(list_file="/spool/two", list_sha256="0" * 64), [A], listed) == "list"
    assert found(c.Start(list_file="/spool/two", list_sha256="1" * 64), [A], listed) is None
    assert found(c.Start(), [A], listed) is None


def test_of_several_jobs_with_the_same_sources_the_models_choose() -> None:
    """The first whose models are those asked for; the first of all where none fits."""
    rows = (job(1, "first", A), job(2, "second", A, embed="other"))
    assert found(c.Start(), [A], *rows) == "first"
    assert found(c.Start(embed="other"), [A], *rows) == "second"
    assert found(c.Start(embed="third"), [A], *rows) == "first"


def test_a_stopped_job_is_not_known() -> None:
    """Neither by its sources nor by its name: both are free for a new job."""
    stopped = job(1, "photos", A, status="stopped")
    assert found(c.Start(), [A], stopped) is None
    assert found(c.Start(name="photos"), [B], stopped) is None


def test_a_name_belongs_to_its_sources() -> None:
    """Another name makes another job of the same sources; the same name with other sources is an error."""
    row = job(1, "photos", A)
    assert found(c.Start(name="photos"), [A], row) == "photos"
    assert found(c.Start(name="second"), [A], row) is None
    with pytest.raises(IngestError, match="other sources"):
        found(c.Start(name="photos"), [B], row)


def test_a_job_that_is_being_removed_is_not_gone_on_with() -> None:
    """Its sources make a new job; its name is not free yet, and the error says so."""
    row = job(1, "photos", A)
    assert found(c.Start(), [A], row, removing=(1,)) is None
    with pytest.raises(IngestError, match="being removed"):
        found(c.Start(name="photos"), [A], row, removing=(1,))
