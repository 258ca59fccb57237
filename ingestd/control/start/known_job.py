"""Which job a ``start`` request means, if there is one already."""

from __future__ import annotations

from collections.abc import Iterable

from ingestd.errors import EXIT_TEMPORARY, EXIT_USAGE, IngestError
from ingestd.policy.state import View
from ingestd.protocol import control as c
from ingestd.records import JobRow, RootRef


def known_job(rows: Iterable[JobRow], view: View, params: c.Start, roots: list[RootRef]) -> JobRow | None:
    """The job with the request's name; without a name the one with its sources. A stopped job is never meant.

    ``rows`` are in the order in which the jobs were made. Raises ``IngestError`` when the name belongs to a job that
    has other sources, or that is being removed.
    """
    living = [row for row in rows if view.jobs[row.id].status != "stopped"]
    if params.name is not None:
        named = next((row for row in living if row.name == params.name), None)
        if named and view.jobs[named.id].removing:
            raise IngestError(
                "a job of that name is being removed", operation="start", object=f"the job {params.name}",
                remedy="Try again in a moment, or give another --name", exit=EXIT_TEMPORARY,
            )  # fmt: skip
        if named and not _same_sources(named, params, roots):
            raise IngestError(
                "a job of that name has other sources", operation="start", object=f"the job {params.name}",
                remedy="Give another --name", exit=EXIT_USAGE,
            )  # fmt: skip
        return named
    same = [row for row in living if not view.jobs[row.id].removing and _same_sources(row, params, roots)]
    fits = [
        row
        for row in same
        if all(getattr(params, name) in (None, row.spec.model_of(name)) for name in ("describe", "embed"))
    ]
    # Of several jobs with the same sources the first was made without a --name, the others with one.
    return next(iter(fits or same), None)


def _same_sources(row: JobRow, params: c.Start, roots: list[RootRef]) -> bool:
    if params.list_file is not None:
        return row.spec.list_sha256 == params.list_sha256
    return row.spec.list_sha256 is None and set(row.roots) == set(roots)
