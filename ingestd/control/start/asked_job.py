"""What a ``start`` request asks for as a job's spec and sinks: of a new job, and of one that is known."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ingestd.config import Settings
from ingestd.errors import EXIT_USAGE, IngestError, Misconfigured
from ingestd.kinds.sinks import SHIPPED as SINKS, SinkKinds, SinkSpec
from ingestd.kinds.steps import NONE, SHIPPED, flag_of
from ingestd.policy.job_spec import OLD_MODELS, OLD_SETTINGS, JobSpec, Kinds, asks, check_spec, flat, with_model
from ingestd.policy.recipe import passes_of
from ingestd.policy.sink_spec import keeps_vectors, parse_sinks
from ingestd.protocol import control as c
from ingestd.records import JobRow


class AskedJob(NamedTuple):
    """A job as it was asked for. ``notes`` tell the user what is easily overlooked."""

    spec: JobSpec
    sinks: list[SinkSpec]
    notes: list[str]


def models_of(params: c.Start) -> list[str]:
    """The models that a request names."""
    named = [params.describe, params.embed, params.embed_text]
    return [name for name in named if name is not None] + [ask.model for ask in params.steps or ()]


def of_new(params: c.Start, settings: Settings, kinds: Kinds = SHIPPED, sink_kinds: SinkKinds = SINKS) -> AskedJob:
    """A new job: where the request says nothing, ``settings`` do. Raises ``Misconfigured``."""
    known = {kind: settings.values[kind].value for kind in kinds if kind in settings.values}
    given: dict[str, object] = dict(known)
    if params.describe == NONE:
        given["embed_text"] = NONE
    asked = {name: getattr(params, name) for name in (*OLD_MODELS, *OLD_SETTINGS)}
    given |= {name: value for name, value in asked.items() if value not in (None, "")}
    spec = JobSpec(
        asks(given, params.steps or (), kinds),
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
    check_spec(spec, kinds)
    sinks = parse_sinks(params.sinks if params.sinks is not None else settings["sinks"].split(","), sink_kinds)
    notes = []
    others = [sink for sink in sinks if not keeps_vectors(sink.kind, sink_kinds)]
    if params.sinks is None and not spec.makes_vectors(kinds) and others != sinks:
        sinks = others
        notes.append("without an embedding there is nothing to search: results go to the other sinks alone")
    _check_vectors(spec, sinks, kinds, sink_kinds)
    return AskedJob(spec, sinks, notes)


def of_known(params: c.Start, job: JobRow, kinds: Kinds = SHIPPED, sink_kinds: SinkKinds = SINKS) -> AskedJob:
    """A known job that goes on: what the request says is changed, the rest stays.

    Raises ``IngestError`` when the request asks for other steps than the job has, and ``Misconfigured``.
    """
    old = job.spec
    _check_steps(params, job, kinds)
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
    check_spec(spec, kinds)
    sinks = parse_sinks(params.sinks, sink_kinds) if params.sinks is not None else list(job.sinks)
    _check_vectors(spec, sinks, kinds, sink_kinds)
    return AskedJob(spec, sinks, _change_notes(old, spec))


def _check_steps(params: c.Start, job: JobRow, kinds: Kinds) -> None:
    """Raises ``IngestError`` when the request asks for steps that the job was not made with."""
    old = flat(job.spec, kinds) | {"passes": passes_of(job.spec, kinds), "exact": bool(job.spec.setting("exact"))}
    pairs = [(key, getattr(params, key), old[key]) for key in (*OLD_MODELS, *OLD_SETTINGS, "passes")]
    for one in params.steps or ():
        mine = job.spec.ask(one.name)
        ask = msgspec.structs.replace(one, model=mine.model) if mine and not one.model else with_model(one, {}, kinds)
        pairs.append((ask.name, ask.model, mine.model if mine else None))
        if mine is not None and ask.model == mine.model and ask != mine:
            pairs.append((ask.name, f"{ask.model} with other settings", mine.model))
    for key, asked, stored in pairs:
        flag = flag_of(key)
        if asked is not None and asked != stored:
            made = "without it" if stored in (None, False) else f"with {stored}"
            raise IngestError(
                f"{flag} {asked} was asked, but the job was made {made}", operation="change",
                object=f"the job {job.name}", remedy=f"Leave {flag} out, or give --name for a second job",
                exit=EXIT_USAGE,
            )  # fmt: skip


def _check_vectors(spec: JobSpec, sinks: list[SinkSpec], kinds: Kinds, sink_kinds: SinkKinds) -> None:
    """Raises ``Misconfigured`` for a sink that stores vectors in a job that makes none."""
    store = next((sink for sink in sinks if keeps_vectors(sink.kind, sink_kinds)), None)
    if store is not None and not spec.makes_vectors(kinds):
        raise Misconfigured(
            "a recipe without an embedding has no vectors to put into it",
            operation="use", object=f"the sink {store.name}",
            remedy=f"Give --embed builtin, or leave --sink {sink_kinds[store.kind].asked} out", exit=EXIT_USAGE,
        )  # fmt: skip


def _change_notes(old: JobSpec, new: JobSpec) -> list[str]:
    """Notes on a limit that is lifted and on changed filters.

    A job has one pair of filters: files that the new ones leave out are no longer part of it.
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
