"""What a job's request means as steps: which are asked of the probe, which bit and which pass each gets. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ingestd.kinds import sink_addresses
from ingestd.kinds.sinks import SHIPPED as SINKS, VECTORS, SinkKinds, SinkSpec
from ingestd.kinds.steps import COSTS, META, SHIPPED, StepKind, cost_of
from ingestd.policy.job_spec import JobSpec, Kinds, bad_step, kind_of, needs_of
from ingestd.protocol.work import Step, StepRequest
from ingestd.records import JobRow


def requests_of(spec: JobSpec, kinds: Kinds = SHIPPED) -> list[StepRequest]:
    """The steps that a job asks for; every recipe includes ``meta``, and bits follow this order."""
    requests = [StepRequest(META.name, META.name)]
    for ask in spec.steps:
        needs = needs_of(ask, spec.steps, kinds)
        kind = kind_of(ask, kinds)
        requests.append(
            StepRequest(ask.kind, ask.model, dict(ask.settings), ask.name, needs, kind.module, kind.media, kind.ports)
        )
    return requests


def declared(steps: Iterable[Step], kinds: Kinds = SHIPPED) -> list[Step]:
    """Steps from the ledger with what their kinds declare now, as a worker is told them.

    A kind whose package is gone keeps its name alone; the worker that is to run it says what is missing.
    """
    return [_declared(step, kinds[step.kind]) if step.kind in kinds else step for step in steps]


def _declared(step: Step, kind: StepKind) -> Step:
    return msgspec.structs.replace(step, module=kind.module, media=kind.media, ports=kind.ports)


def secrets_of(step: Step, kinds: Kinds = SHIPPED) -> tuple[str, ...]:
    """The environment variables that a step's process needs."""
    return kinds[step.kind].secrets if step.kind in kinds else ()


def passes_and_bits(spec: JobSpec, steps: list[Step], kinds: Kinds = SHIPPED) -> list[Step]:
    """Give resolved steps their places, in the order of ``requests_of``.

    Raises ``Misconfigured`` for two that turned out to be the same: results are kept by fingerprint.
    """
    by_print: dict[str, str] = {}
    for step in steps:
        if (other := by_print.setdefault(step.fingerprint, step.name)) != step.name:
            raise bad_step("they are the same model", f"the steps {other} and {step.name}", "Leave one of them out")
    passes = _passes(spec, kinds)
    return [msgspec.structs.replace(step, bit=bit, pass_=passes[step.name]) for bit, step in enumerate(steps)]


def sink_place(state: Path, uuid: str, sink: SinkSpec, steps: list[Step], kinds: SinkKinds = SINKS) -> str:
    """Where a sink keeps a job's output: the user's place, or one under the job's uuid in the state folder.

    Of a kind that is not declared any more, the folder: what it made there is kept.
    """
    if sink.place:
        return sink.place
    folder = state / "sinks" / uuid
    name = (kinds[sink.kind].place or sink.kind) if sink.kind in kinds else ""
    # A store's name tells which vectors it holds, which is not known before the models are resolved.
    if not steps and VECTORS in name:
        name = ""
    return str(folder / name.replace(VECTORS, vector_fingerprint(steps)))


def passes_of(spec: JobSpec, kinds: Kinds = SHIPPED) -> int:
    """How many passes a job makes: as many as ``--passes`` says, else one for each cost class of its steps."""
    return spec.passes if spec.passes is not None else max(_passes(spec, kinds).values()) + 1


def _passes(spec: JobSpec, kinds: Kinds) -> dict[str, int]:
    """The pass of each step by its name: cheap ones first, so that a search works after an hour and captions come over
    the days. What reads another step's results comes with that one or later.

    ``meta`` costs next to nothing and goes with the cheapest of the others: a pass for it alone would read every file
    once more. With ``--passes`` the kinds are weighed by their declarations, whatever the model, and the dearest
    classes share the last pass.
    """
    ranks: dict[str, int] = {}
    for ask in spec.steps:
        kind = kind_of(ask, kinds)
        ranks[ask.name] = COSTS.index(kind.cost if spec.passes is not None else cost_of(kind, ask.model))
    for _ in spec.steps:  # needs may be chained
        for ask in spec.steps:
            needed = [ranks[name] for name in needs_of(ask, spec.steps, kinds)]
            ranks[ask.name] = max([ranks[ask.name], *needed])
    lowest = min(ranks.values(), default=0)
    ranks[META.name] = 0 if spec.passes is not None else lowest
    order = sorted(set(ranks.values()))
    last = len(order) - 1 if spec.passes is None else spec.passes - 1
    return {name: min(order.index(rank), last) for name, rank in ranks.items()}


def shown_place(state: Path, row: JobRow, sink: SinkSpec, steps: list[Step], kinds: SinkKinds = SINKS) -> str:
    """A sink's place for people: of a server, with what is used there (a collection), once that is known."""
    place = sink_place(state, row.uuid, sink, steps, kinds)
    kind = kinds.get(sink.kind)
    if kind is None or not sink.place or sink.place.startswith("/") or not steps:
        return place
    return sink_addresses.shown(kind, place, store_name(row.name, steps))


def store_name(job: str, steps: list[Step]) -> str:
    """The collection that a job has on a server unless its user names one."""
    return f"{job}-{vector_fingerprint(steps)}"


def vector_fingerprint(steps: list[Step]) -> str:
    """Eight hex digits that name a set of vector steps: stores are made per (job, set of vector steps)."""
    prints = "\n".join(step.fingerprint for step in steps if "dim" in step.spec)
    return hashlib.sha256(prints.encode()).hexdigest()[:8]
