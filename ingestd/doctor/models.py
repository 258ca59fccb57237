"""The models of every job: whole on this machine, within its memory, and (when asked) loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import anyio
import psutil

from ingestd.doctor import wording
from ingestd.doctor.checking import CHILD_S, refused
from ingestd.doctor.context import KEYLESS, Context, Job
from ingestd.doctor.doctor_child import ask, child
from ingestd.errors import IngestError
from ingestd.executors.base import ChildSpec, Lockdown
from ingestd.kinds.steps import META, SHIPPED
from ingestd.lockdown.environment import may_fetch, of_models
from ingestd.policy.job_spec import JobSpec, asks
from ingestd.policy.recipe import passes_and_bits, requests_of
from ingestd.protocol import work
from ingestd.protocol.doctor import Finding, FromLooker, Level, LookAtModels, Looked, ModelAsk, ToLooker

WHAT: Final = "model"
MODULE: Final = "ingestd.worker.doctor_main"
WORKER: Final = "ingestd.worker"

LOAD_S: Final = 300.0
"""Seconds for one worker to load its models: large weights come from slow disks."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one worker loads: the models of one pass of a job, or of what ``start`` would make now (``job`` None).

    ``steps`` are those of the pass once the job is resolved, else empty.
    """

    job: Job | None
    asks: tuple[ModelAsk, ...]
    steps: tuple[work.Step, ...]

    @property
    def active(self) -> bool:
        return self.job is None or self.job.active

    @property
    def name(self) -> str:
        return self.job.row.name if self.job else ""


def loads(context: Context) -> list[Load]:
    """Of every job; where there is none, of the models that the settings name."""
    if not context.jobs:
        return list(_unresolved(context, None, _spec(context)))
    found: list[Load] = []
    for job in context.jobs:
        found += _resolved(context, job) if job.steps else _unresolved(context, job, job.row.spec)
    return found


def _spec(context: Context) -> JobSpec:
    """What ``start`` would ask for now."""
    return JobSpec(asks({name: context.settings[name] for name in SHIPPED if name != META.name}))


def _unresolved(context: Context, job: Job | None, spec: JobSpec) -> Iterator[Load]:
    machine = context.machine(job)
    exact = bool(spec.setting("exact"))
    wanted = [ModelAsk(one.kind, one.model, machine, exact) for one in requests_of(spec) if one.kind != META.name]
    if wanted:
        yield Load(job, tuple(wanted), ())


def _resolved(context: Context, job: Job) -> Iterator[Load]:
    machine = context.machine(job)
    for pass_ in sorted({step.pass_ for step in job.steps}):
        steps = tuple(step for step in job.steps if step.pass_ == pass_)
        wanted = [_ask(step, machine) for step in steps if step.kind != META.name]
        if wanted:
            yield Load(job, tuple(wanted), steps)


def _ask(step: work.Step, machine: work.Machine) -> ModelAsk:
    def of(name: str) -> str:
        return str(step.spec.get(name) or "")

    exact = bool(step.spec.get("exact"))
    return ModelAsk(step.kind, of("model"), machine, exact, of("folder"), of("hub_id"), of("revision"))


async def models(context: Context) -> list[Finding]:
    """A finding for each model, and one for the memory that the largest worker needs."""
    wanted = loads(context)
    asks = list(dict.fromkeys(one for load in wanted for one in load.asks))
    if not asks:
        return [Finding("ok", WHAT, "no job uses one")]
    seen: dict[ModelAsk, Looked] = {}

    def hear(message: Looked) -> None:
        seen[asks[message.index]] = message

    names = [one.model for one in asks]
    spec = ChildSpec(MODULE, "doctor: models", ToLooker, FromLooker, of_models(names), may_fetch(names))
    found: list[Finding] = []
    try:
        with anyio.move_on_after(CHILD_S) as waited:
            await ask(spec, LookAtModels(asks), Looked, hear)
        if waited.cancelled_caught:
            late = ", ".join(dict.fromkeys(one.model for one in asks if one not in seen))
            text = f"{late}: no answer within {CHILD_S:.0f} seconds"
            found.append(Finding("fail", WHAT, text, "Check the disk that holds it, or the endpoint; ask again"))
    except IngestError as error:
        found.append(refused(WHAT, error))
    found = [*_models(context, wanted, asks, seen), *found]
    return [*found, *_memory(context, wanted, seen)]


def _models(
    context: Context, wanted: list[Load], asks: list[ModelAsk], seen: dict[ModelAsk, Looked]
) -> Iterator[Finding]:
    """A line for what is the same of one model, whatever kinds of steps it does."""
    lines: dict[tuple[str, str, str, str], list[ModelAsk]] = {}
    for one in asks:
        if is_so := seen.get(one):
            lines.setdefault((one.model, is_so.level, is_so.finding, is_so.remedy), []).append(one)
    for (model, level, finding, remedy), same in lines.items():
        users = [load for load in wanted if set(load.asks) & set(same)]
        if level == "fail" and not any(load.active for load in users):
            level = "warn"  # no job needs it now: a search in that job, or going on with it, would
        if level == "fail" and context.maybe_keyless(remedy):
            level, finding = "warn", finding + KEYLESS
        kinds = ", ".join(dict.fromkeys(one.kind for one in same))
        whose = wording.of_jobs(list(dict.fromkeys(load.name for load in users if load.name)))
        yield Finding(level, WHAT, f"{model} ({kinds}): {finding}{whose}", remedy)  # type: ignore[arg-type]


def _memory(context: Context, wanted: list[Load], seen: dict[ModelAsk, Looked]) -> Iterator[Finding]:
    """What the workers of the most demanding job take, against what there is."""
    needs = []
    for load in wanted:
        largest: dict[tuple[str, str], int] = {}
        for one in load.asks:
            if is_so := seen.get(one):
                key = (one.model, one.folder)
                largest[key] = max(largest.get(key, 0), is_so.memory)  # kinds of one model share it
        if load.active and any(largest.values()):
            libraries = max(seen[one].libraries for one in load.asks if one in seen)
            workers = load.job.row.spec.workers if load.job else 1
            needs.append(((sum(largest.values()) + libraries) * workers, workers, load.name))
    memory = psutil.virtual_memory()
    free = memory.available + _held(context)
    has = f"{wording.size(free)} of {wording.size(memory.total)} are free"
    if not needs:
        yield Finding("ok", "memory", has)
        return
    need, workers, name = max(needs)
    text = f"{has}, {wording.many(workers, 'worker')} of about {wording.size(need / workers)} needed"
    whose = wording.of_jobs([name] if name else [])
    remedy = "Choose a smaller model or an endpoint (openai:URL#model), or fewer --workers"
    level: Level = "ok" if need <= free else "warn" if need <= memory.total else "fail"
    if level == "warn":
        remedy = f"End what else runs: a job waits until there is room. {remedy}"
    yield Finding(level, "memory", f"{text}{whose}", "" if level == "ok" else remedy)


def _held(context: Context) -> int:
    """Bytes that the daemon's own workers hold now: they need them once, not twice."""
    total = 0
    if context.daemon:
        for job in context.daemon.status.jobs:
            for worker in job.workers:
                try:
                    total += psutil.Process(worker.pid).memory_info().rss
                except psutil.Error:
                    continue  # it has ended just now
    return total


# ------------------------------------------------------------------------------------------------------- with --load


async def load(context: Context) -> list[Finding]:
    """What every worker of a job that is not over loads, loaded once, one after the other."""
    found: list[Finding] = []
    done: set[tuple[ModelAsk, ...]] = set()
    for one in loads(context):
        if one.active and one.asks not in done:
            done.add(one.asks)
            late = "See how large the model is, and how fast its disk is; the job would wait as long"
            finding = Finding("fail", "load", f"{_names(one)}: no answer within {LOAD_S:.0f} seconds", late)
            with anyio.move_on_after(LOAD_S):
                finding = await _load(context, one)
            found.append(finding)
    return found or [Finding("ok", "load", "no job that goes on needs a model")]


async def _load(context: Context, one: Load) -> Finding:
    names = _names(one)
    whose = wording.of_jobs([one.name] if one.name else [])
    try:
        steps = list(one.steps) or await _probe(context, one)
        return Finding("ok", "load", f"{names}: {await _ready(context, one, steps)}{whose}")
    except IngestError as error:
        return Finding("fail", "load", f"{names}: {error.message}{whose}", error.remedy)


def _names(one: Load) -> str:
    return " and ".join(dict.fromkeys(ask.model for ask in one.asks))


async def _probe(context: Context, one: Load) -> list[work.Step]:
    """What the models of a job that has not begun mean here. Raises ``IngestError``."""
    spec = one.job.row.spec if one.job else _spec(context)
    models = [ask.model for ask in one.asks]
    probed: list[work.Probed] = []
    request = work.Probe(requests_of(spec), context.machine(one.job))
    # Offline: what is not here is for the job to fetch, not for a look at it.
    await ask(_worker(models), request, work.Probed, probed.append)
    if not probed:
        raise _no_answer(models, "it ended without an answer")
    return passes_and_bits(spec, probed[0].steps)


async def _ready(context: Context, one: Load, steps: list[work.Step]) -> str:
    """Raises ``IngestError`` for what does not load."""
    models = [ask.model for ask in one.asks]
    setup = work.WorkerSetup(steps, context.machine(one.job), [])
    lockdown: Lockdown = "auto" if context.settings["lockdown"] == "auto" else "no"
    async with child(_worker(models, lockdown)) as (handle, asked):
        handle.send(setup)
        async for message in asked.answers():
            match message:
                case work.Ready(ms, number):
                    memory = psutil.Process(handle.facts["pid"]).memory_info().rss
                    batch = f", {number} at a time" if number > 1 else ""
                    return f"loads in {ms / 1e3:.1f} s{batch}, {wording.size(memory)} of memory"
                case work.Locked():
                    pass  # its check tells of that
                case _:
                    raise asked.unexpected(message)
        raise _no_answer(models, asked.last_line())


def _worker(models: list[str], lockdown: Lockdown = "no") -> ChildSpec:
    return ChildSpec(WORKER, "doctor: models", work.ToWorker, work.FromWorker, of_models(models), lockdown=lockdown)


def _no_answer(models: list[str], why: str) -> IngestError:
    return IngestError(
        why, operation="load", object=" and ".join(models), remedy="The line is its last words; ingestctl logs has more"
    )
