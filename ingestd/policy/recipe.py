"""What a job's request means as steps: which are asked of the probe, which bit and which pass each gets. Pure."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from ingestd.config import DESCRIBE_FIELDS, JobSpec, SinkSpec
from ingestd.protocol.addresses import qdrant_url
from ingestd.protocol.work import Step, StepRequest
from ingestd.records import JobRow


def requests_of(spec: JobSpec) -> list[StepRequest]:
    """The steps that a recipe asks for; every recipe includes ``meta``, and bits follow this order."""
    exact: dict[str, object] = {"exact": True} if spec.exact else {}
    words = {key: value for key in DESCRIBE_FIELDS if (value := getattr(spec, key)) is not None}
    requests = [StepRequest("meta", "meta")]
    requests += [
        StepRequest(kind, model, settings)
        for kind, model, settings in (
            ("embed", spec.embed, exact),
            ("describe", spec.describe, exact | words),
            ("embed_text", spec.embed_text, exact),
        )
        if model != "none"
    ]
    return requests


def passes_and_bits(spec: JobSpec, steps: list[Step]) -> list[Step]:
    """Give resolved steps their places; what reads descriptions goes with them into the second pass."""
    two = passes_of(spec) == 2
    return [
        msgspec.structs.replace(step, bit=bit, pass_=int(two and step.kind in ("describe", "embed_text")))
        for bit, step in enumerate(steps)
    ]


def sink_place(state: Path, uuid: str, sink: SinkSpec, steps: list[Step]) -> str:
    """Where a sink keeps a job's output: the user's place, or one under the job's uuid in the state folder."""
    if sink.place:
        return sink.place
    folder = state / "sinks" / uuid
    if sink.kind == "jsonl":
        return str(folder / "items.jsonl")
    # A store's name tells which vectors it holds, which is not known before the models are resolved.
    return str(folder / f"{sink.kind}-{vector_fingerprint(steps)}" if steps else folder)


def passes_of(spec: JobSpec) -> int:
    """How many passes a job makes.

    A describing model other than ``builtin`` beside an embedder makes two, embeddings first: search works after an
    hour, captions come over the days.
    """
    if spec.passes is not None:
        return spec.passes
    return 2 if spec.embed != "none" and spec.describe not in ("builtin", "none") else 1


def shown_place(state: Path, row: JobRow, sink: SinkSpec, steps: list[Step]) -> str:
    """A sink's place for people: of a server, with the name of the collection, once that is known."""
    place = sink_place(state, row.uuid, sink, steps)
    if sink.kind != "qdrant-server" or not steps:
        return place
    server = qdrant_url.parse(place)
    return f"{server.shown} collection {qdrant_url.collection_name(server, store_name(row.name, steps))}"


def store_name(job: str, steps: list[Step]) -> str:
    """The collection that a job has on a server unless its user names one."""
    return f"{job}-{vector_fingerprint(steps)}"


def vector_fingerprint(steps: list[Step]) -> str:
    """Eight hex digits that name a set of vector steps: stores are made per (job, set of vector steps)."""
    prints = "\n".join(step.fingerprint for step in steps if "dim" in step.spec)
    return hashlib.sha256(prints.encode()).hexdigest()[:8]
