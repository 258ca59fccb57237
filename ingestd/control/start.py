"""The verb ``start``: resolve the sources, find the job that they are or make it, and say what became of it."""

from __future__ import annotations

import os
import re
import sqlite3
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import msgspec

from ingestd.config import STEP_FIELDS, VECTOR_SINKS, JobSpec, SinkSpec, check_models, check_spec, parse_sinks
from ingestd.errors import EXIT_TEMPORARY, EXIT_USAGE, IngestError, Misconfigured
from ingestd.ledger import jobs
from ingestd.policy import messages as w
from ingestd.policy.recipe import passes_of
from ingestd.policy.state import JobView
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import path_bytes, shown
from ingestd.records import JobRow, RootRef

if TYPE_CHECKING:
    from ingestd.control.verbs import Verbs

SETTLE_S: Final = 3.0
"""Seconds that ``start`` waits for the models to be resolved, so that a plain mistake is told at once."""

MAX_NAME: Final = 200
"""Characters of a job's name: it stands in a line of ``status``."""


async def start(verbs: Verbs, params: c.Start) -> c.StartReply:
    """See ``protocol.control.Start``. Raises ``IngestError`` with the way on for whatever cannot be done."""
    if bool(params.sources) == bool(params.list_file):
        raise IngestError(
            "give folders, or a list of files, and not both", operation="start", object="a job",
            remedy="ingestctl start FOLDER, or: find … | ingestctl start -", exit=EXIT_USAGE,
        )  # fmt: skip
    if params.name is not None and not _good_name(params.name):
        raise IngestError(
            "it is empty, too long, or cannot be printed", operation="use", object="the --name",
            remedy=f"Give one of 1 to {MAX_NAME} printable characters", exit=EXIT_USAGE,
        )  # fmt: skip
    verbs.check_writable("start", "a job")
    check_models(params.describe, params.embed, params.embed_text)
    found = await _resolve_roots(verbs, params)
    s = verbs.supervisor
    root_ids = await s.ledger.write(lambda db: jobs.add_roots(db, [source[:3] for source in found]))
    pairs = zip(root_ids, found, strict=True)
    refs = list(dict.fromkeys(RootRef(ident, source.only) for ident, source in pairs))  # one named twice is one
    async with verbs.starting:  # two requests for one new folder must not make two jobs of it
        known = _known(verbs, params, refs)
        outcome, job, notes = await (_again(verbs, params, known) if known else _new(verbs, params, refs, found))
    return await _reply(verbs, outcome, job, notes)


def _good_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()


class Source(NamedTuple):
    """A resolved source: its folder, and a file name where it is one file of that folder."""

    path: bytes
    device: int
    fs: str
    only: bytes | None = None


async def _resolve_roots(verbs: Verbs, params: c.Start) -> list[Source]:
    """Canonical (path, device, file system) of each source, by a walker child: a dead mount must not block us."""
    if params.list_file:
        _check_list(verbs.supervisor.places.state / "spool", params.list_file)
        return [Source(b"/", 0, "")]
    async with verbs.looking:
        roots = await verbs.supervisor.sources.resolve([path_bytes(source) for source in params.sources])
    bad = next((root for root in roots if root.error), None)
    if bad is not None:
        raise IngestError(
            bad.error, operation="read", object=shown(bad.path)[0],
            remedy="Give a folder that exists and that the daemon's user may read", exit=EXIT_USAGE,
        )  # fmt: skip
    return [
        Source(root.path, root.device, root.fs)
        if root.is_dir
        else Source(os.path.dirname(root.path), root.device, root.fs, os.path.basename(root.path))
        for root in roots
    ]


def _check_list(spool: Path, name: str) -> None:
    """Raises ``IngestError`` for a file list that this user cannot read; one outside of the spool a walker looks at."""
    if not name.startswith("/") or "\0" in name:
        message = "it is no absolute path"
    elif os.path.dirname(name) == str(spool) and not os.access(name, os.R_OK):
        message = "it is not there, or the daemon's user may not read it"
    else:
        return
    raise IngestError(
        message, operation="read", object=f"the file list {shown(os.fsencode(name))[0]}",
        remedy="Give the list to ingestctl start - as the user whose daemon it is", exit=EXIT_USAGE,
    )  # fmt: skip


def _known(verbs: Verbs, params: c.Start, refs: list[RootRef]) -> JobRow | None:
    """The job that this request means: by its name, else by its set of roots or its list."""
    s = verbs.supervisor
    living = [row for row in s.rows.values() if s.view.jobs[row.id].status != "stopped"]
    if params.name is not None:
        named = [row for row in living if row.name == params.name]
        if named and s.view.jobs[named[0].id].removing:
            raise IngestError(
                "a job of that name is being removed", operation="start", object=f"the job {params.name}",
                remedy="Try again in a moment, or give another --name", exit=EXIT_TEMPORARY,
            )  # fmt: skip
        if named and not _same_source(named[0], params, refs):
            raise IngestError(
                "a job of that name has other sources", operation="start", object=f"the job {params.name}",
                remedy="Give another --name", exit=EXIT_USAGE,
            )  # fmt: skip
        return named[0] if named else None
    same = [row for row in living if not s.view.jobs[row.id].removing and _same_source(row, params, refs)]
    fits = [
        row for row in same if params.describe in (None, row.spec.describe) and params.embed in (None, row.spec.embed)
    ]
    # Of several jobs of one source the first is the one that a plain start made; the others were given a --name.
    return next(iter(fits or same), None)


def _same_source(row: JobRow, params: c.Start, refs: list[RootRef]) -> bool:
    if params.list_file is not None:
        return row.spec.list_sha256 == params.list_sha256
    return row.spec.list_sha256 is None and set(row.roots) == set(refs)


def _spec(verbs: Verbs, params: c.Start) -> tuple[JobSpec, list[SinkSpec], list[str]]:
    """The request with the settings filled in; sinks; notes for the person."""
    settings = verbs.settings
    spec = JobSpec(
        describe=params.describe or settings["describe"],
        embed=params.embed or settings["embed"],
        embed_text=params.embed_text or ("none" if params.describe == "none" else settings["embed_text"]),
        prompt=params.prompt,
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        seed=params.seed,
        exact=bool(params.exact),
        passes=params.passes,
        device=params.device or settings["device"],
        concurrency=params.concurrency if params.concurrency is not None else int(settings["concurrency"]),
        batch_size=params.batch_size if params.batch_size is not None else int(settings["batch_size"]),
        cooldown=params.cooldown or settings["cooldown"],
        workers=params.workers if params.workers is not None else int(settings["workers"]),
        limit=params.limit,
        include=tuple(params.include or ()),
        exclude=tuple(params.exclude or ()),
        list_file=params.list_file,
        list_sha256=params.list_sha256,
    )
    check_spec(spec)
    sinks = parse_sinks(params.sinks if params.sinks is not None else settings["sinks"].split(","))
    notes = []
    if params.sinks is None and not _has_vectors(spec) and any(sink.kind in VECTOR_SINKS for sink in sinks):
        sinks = [sink for sink in sinks if sink.kind not in VECTOR_SINKS]
        notes.append("without an embedding there is nothing to search: results go to the other sinks alone")
    _check_vectors(spec, sinks)
    return spec, sinks, notes


def _has_vectors(spec: JobSpec) -> bool:
    return spec.embed != "none" or spec.embed_text != "none"


def _check_vectors(spec: JobSpec, sinks: list[SinkSpec]) -> None:
    """Raises ``Misconfigured`` for a store of vectors in a job that makes none."""
    store = next((sink.name for sink in sinks if sink.kind in VECTOR_SINKS), None)
    if store is not None and not _has_vectors(spec):
        raise Misconfigured(
            "a recipe without an embedding has no vectors to put into it",
            operation="use", object=f"the sink {store}",
            remedy="Give --embed builtin, or leave --sink qdrant out", exit=EXIT_USAGE,
        )  # fmt: skip


Made = tuple[str, int, list[str]]
"""The outcome in a word, the job's id, notes for the person."""


async def _new(verbs: Verbs, params: c.Start, refs: list[RootRef], found: list[Source]) -> Made:
    s = verbs.supervisor
    spec, sinks, notes = _spec(verbs, params)
    ident, now = str(uuid.uuid4()), s.clocks.wall_ms()
    name = params.name or _name_for(verbs, params, found)

    def change(db: sqlite3.Connection) -> JobRow:
        return jobs.add(
            db, uuid=ident, name=name, refs=refs, spec=spec, sinks=sinks, actor=params.actor, now=now
        )  # fmt: skip

    row = await s.ledger.write(change)
    await s.keep_job_file(row.id)
    await s.know(row.id)
    await s.settled()
    return "created", row.id, notes


def _name_for(verbs: Verbs, params: c.Start, found: list[Source]) -> str:
    """The last part of the first source's path, made unique; ``list-<sha8>`` for a list."""
    if params.list_sha256:
        base = f"list-{params.list_sha256[:8]}"
    else:
        text = (found[0].only or found[0].path).rstrip(b"/").rpartition(b"/")[2].decode("utf-8", "replace")
        base = re.sub(r"[^\w.-]+", "-", text).strip("-.") or "job"
    s = verbs.supervisor
    taken = {row.name for row in s.rows.values() if s.view.jobs[row.id].status != "stopped"}
    names = [base, *(f"{base}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


async def _again(verbs: Verbs, params: c.Start, row: JobRow) -> Made:
    """A known job goes on: changed settings are stored, a new walk is owed, and it takes its turn."""
    s = verbs.supervisor
    old = row.spec
    for key in STEP_FIELDS:
        flag, asked = "--" + key.replace("_", "-"), getattr(params, key)
        stored = passes_of(old) if key == "passes" else getattr(old, key)
        if asked is not None and asked != stored:
            made = "without it" if stored in (None, False) else f"with {stored}"
            raise IngestError(
                f"{flag} {asked} was asked, but the job was made {made}", operation="change",
                object=f"the job {row.name}", remedy=f"Leave {flag} out, or give --name for a second job",
                exit=EXIT_USAGE,
            )  # fmt: skip
    given = {
        "device": params.device,
        "concurrency": params.concurrency,
        "batch_size": params.batch_size,
        "cooldown": params.cooldown,
        "workers": params.workers,
        "include": tuple(params.include) if params.include is not None else None,
        "exclude": tuple(params.exclude) if params.exclude is not None else None,
        "list_file": params.list_file,
    }
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    # A start without --limit goes on past an earlier one: that is what a limit is for.
    changes["limit"] = params.limit
    spec = msgspec.structs.replace(old, **changes)
    check_spec(spec)
    sinks = parse_sinks(params.sinks) if params.sinks is not None else list(row.sinks)
    _check_vectors(spec, sinks)
    s.walks.outdate(row.id)
    view = s.view.jobs[row.id]
    before, now = view.status, s.clocks.wall_ms()
    await s.ledger.write(lambda db: jobs.change_request(db, row.id, spec, sinks, now))
    await s.keep_job_file(row.id)
    await s.know(row.id)
    # Of the two only one is a move of what the job is by then: a pause or its end may have come in between.
    s.post(w.MoveRequested(row.id, "resume", params.actor))
    s.post(w.MoveRequested(row.id, "more", params.actor))
    outcome = {"running": "running", "queued": "running", "completed": "rescanning"}.get(before, "resumed")
    await s.settled()
    return outcome, row.id, _change_notes(old, spec)


def _change_notes(old: JobSpec, new: JobSpec) -> list[str]:
    """What of a known job is different from now on, where that is easily overlooked.

    A job has one pair of filters: what the new ones leave out is no longer part of it.
    """
    notes = []
    if old.limit is not None and new.limit is None:
        notes.append(f"the limit of {old.limit} items is lifted; give --limit again to keep one")
    for flag, before, now in (("--include", old.include, new.include), ("--exclude", old.exclude, new.exclude)):
        if before != now:
            texts = [" ".join(patterns) or "nothing" for patterns in (now, before)]
            notes.append(
                f"{flag} of this job is now {texts[0]} (it was {texts[1]}): files that fall out of it leave the"
                " results; for a second job of the same folder give --name"
            )
    return notes


def _settled(job: JobView) -> bool:
    """Whether what could be wrong from the beginning has had its chance to show: models, and the sinks' places."""
    if job.status == "queued":
        return job.resolved
    return job.status != "running" or (job.resolved and all(sink.is_on for sink in job.sinks.values()))


async def _reply(verbs: Verbs, outcome: str, job: int, notes: list[str]) -> c.StartReply:
    """Wait a moment for the models to be resolved; a job that failed at once is told as the error that it is."""
    s = verbs.supervisor
    with anyio.move_on_after(SETTLE_S):
        await s.until(lambda: job not in s.view.jobs or _settled(s.view.jobs[job]))
    view = s.view.jobs.get(job)
    if view is None or view.removing:
        return c.StartReply(outcome, await verbs.status(job), notes)  # raises: somebody was quick
    if outcome != "created":
        await s.keep_job_file(job)  # it may have been paused until now
    if view.status == "failed":
        if outcome == "created" and not view.resolved:
            # Nothing came of it yet: left behind, it would only be in the way of the mended command.
            await s.remove(s.rows[job])
        raise Misconfigured(
            view.reason, operation="run", object=f"the job {view.name}",
            remedy="Change what it says, then start again",
        )  # fmt: skip
    if view.status == "queued":
        running = next((other.name for other in s.view.jobs.values() if other.status == "running"), None)
        notes = [*notes, f"it waits its turn behind {running}"] if running else notes
    return c.StartReply(outcome, await verbs.status(job), notes)
