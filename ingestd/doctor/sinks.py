"""Every place that results go to: there, writable, answering."""

from __future__ import annotations

import os
from typing import Final

import anyio

from ingestd.doctor import wording
from ingestd.doctor.checking import CHILD_S, refused
from ingestd.doctor.context import KEYLESS, Context, Job
from ingestd.doctor.doctor_child import ask
from ingestd.errors import IngestError, Misconfigured
from ingestd.executors.base import ChildSpec
from ingestd.kinds.sinks import OURS, SinkSpec, declared
from ingestd.lockdown.environment import of_sinks
from ingestd.policy.recipe import shown_place, sink_place, store_name
from ingestd.policy.sink_spec import values_of
from ingestd.protocol.doctor import Finding, FromLooker, Level, LookAtSinks, Looked, ToLooker
from ingestd.protocol.sink import SinkSetup

WHAT: Final = "sink"
MODULE: Final = "ingestd.sinks.doctor_main"

_LATER: Final = "is made at the first delivery"


async def sinks(context: Context) -> list[Finding]:
    """A finding for each sink of each job."""
    found: list[Finding] = []
    asked: list[tuple[Job, SinkSpec]] = []
    for job in context.jobs:
        for spec in job.row.sinks:
            if line := _without_asking(context, job, spec):
                found.append(line)
            else:
                asked.append((job, spec))
    if asked:
        found += await _looked(context, asked)
    return found or [Finding("ok", WHAT, f"no job has one yet; the next gets {context.settings['sinks']}")]


def _without_asking(context: Context, job: Job, spec: SinkSpec) -> Finding | None:
    """A kind that is not declared, what a daemon says of its own sink's trouble, and what is not there yet because
    nothing was delivered."""
    try:
        declared(spec.kind, context.sink_kinds)
    except Misconfigured as error:
        return _finding(context, job, spec, "fail", error.message, error.remedy)
    status = context.daemon.job(job.row.uuid) if context.daemon else None
    now = next((sink for sink in status.sinks if sink.name == spec.name), None) if status else None
    if now and now.state == "trouble":
        return _finding(
            context, job, spec, "fail", now.message, "Mend that; ingestctl status shows when it is tried again"
        )
    place = sink_place(context.places.state, job.row.uuid, spec, job.steps, context.sink_kinds)
    if not spec.place and (not job.steps or not os.path.isdir(os.path.dirname(place))):
        return _finding(context, job, spec, "ok", f"{wording.path(place)}: {_LATER}")
    return None


async def _looked(context: Context, asked: list[tuple[Job, SinkSpec]]) -> list[Finding]:
    """What the children see that look. Other packages' checks have a child for each kind, with the lock that the sink
    itself has, and its secrets alone."""
    setups = [_setup(context, job, spec) for job, spec in asked]
    seen: dict[int, Looked] = {}
    found: list[Finding] = []
    failed: set[int] = set()

    async def look(indices: list[int]) -> None:
        kinds = [context.sink_kinds[setups[index].kind] for index in indices]
        foreign = any(kind.package != OURS for kind in kinds)
        child = ChildSpec(
            MODULE, "doctor: sinks", ToLooker, FromLooker, of_sinks(kinds),
            lockdown="auto" if foreign and context.settings["lockdown"] == "auto" else "no",
        )  # fmt: skip

        def hear(message: Looked) -> None:
            seen[indices[message.index]] = message

        try:
            with anyio.move_on_after(CHILD_S):
                request = LookAtSinks([setups[index] for index in indices], context.daemon is not None)
                await ask(child, request, Looked, hear)
        except IngestError as error:
            found.append(refused(WHAT, error))
            failed.update(indices)

    groups: dict[str, list[int]] = {}
    for index, setup in enumerate(setups):
        kind = context.sink_kinds[setup.kind]
        groups.setdefault("" if kind.package == OURS else kind.name, []).append(index)
    async with anyio.create_task_group() as tasks:
        for indices in groups.values():
            tasks.start_soon(look, indices)
    for index, (job, spec) in enumerate(asked):
        if one := seen.get(index):
            found.append(_finding(context, job, spec, one.level, one.finding, one.remedy))
        elif index not in failed:
            place = shown_place(context.places.state, job.row, spec, job.steps, context.sink_kinds)
            text = f"{place}: no answer within {CHILD_S:.0f} seconds"
            found.append(_finding(context, job, spec, "fail", text, "Check that it runs and can be reached"))
    return found


def _setup(context: Context, job: Job, spec: SinkSpec) -> SinkSetup:
    kind, given = context.sink_kinds[spec.kind], context.settings.get
    place = sink_place(context.places.state, job.row.uuid, spec, job.steps, context.sink_kinds)
    return SinkSetup(
        job.row.id,
        job.row.uuid,
        job.row.name,
        str(context.places.ledger),
        spec.kind,
        place,
        job.steps,
        0,
        "",
        0,
        store_name(job.row.name, job.steps),
        given(kind.key_file),
        kind,
        values_of(kind, given),
    )


def _finding(context: Context, job: Job, spec: SinkSpec, level: Level, text: str, remedy: str = "") -> Finding:
    if level == "fail" and not job.active:
        level = "warn"  # nothing is to be delivered now
    if level == "fail" and context.maybe_keyless(remedy):
        level, text = "warn", text + KEYLESS
    word = context.sink_kinds[spec.kind].asked if spec.kind in context.sink_kinds else spec.kind
    return Finding(level, WHAT, f"{word} {text}{wording.of_jobs([job.row.name])}", remedy)
