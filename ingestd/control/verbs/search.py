"""The verb ``search``: the photos of all jobs that are nearest to a query, best first."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ingestd.control.rank_fusion import FUSION_DEPTH, best_first, content_of, fuse
from ingestd.control.verb_context import VerbContext
from ingestd.errors import EXIT_TEMPORARY, EXIT_USAGE, IngestError, Unavailable
from ingestd.kinds.sinks import SinkKinds
from ingestd.ledger.report import JobFacts
from ingestd.policy.job_spec import Kinds
from ingestd.policy.sink_spec import keeps_vectors
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import path_bytes
from ingestd.protocol.sink import Hit, Search
from ingestd.protocol.work import Step

MAX_HITS: Final = 1000
"""Hits of a group at most, whatever is asked for."""

_NO_ID: Final = 0
"""The supervisor gives queries their numbers."""

JobStore = tuple[JobFacts, str]
"""A job and the name of its sink with vectors."""


async def handle(context: VerbContext, params: c.Search) -> c.SearchReply:
    """See ``protocol.control.Search``. Jobs with the same encoders make one group: their scores compare.

    A job that cannot answer is left out with a note. Raises ``IngestError`` for a query that cannot be used and where
    no job has vectors; ``Unavailable`` when no job answers.
    """
    image = path_bytes(params.like) if params.like is not None else None
    if (image is None) == (not params.text.strip()):
        raise IngestError(
            "give words, or an image with --like, and not both" if image else "it is empty", operation="search for",
            object="the query", remedy="Say what to look for", exit=EXIT_USAGE,
        )  # fmt: skip
    kinds = context.supervisor.shared.sink_kinds
    chosen = [await context.jobbook.one(params.job, "search")] if params.job else await context.jobbook.facts()
    groups: dict[tuple[str, ...], tuple[tuple[Step, ...], list[JobStore]]] = {}
    for facts in chosen:
        sink = next((sink.name for sink in facts.row.sinks if keeps_vectors(sink.kind, kinds)), None)
        steps = _comparable(facts, context.supervisor.shared.step_kinds, by_image=image is not None)
        if sink is not None and steps:
            # Equal fingerprints mean equal vectors, however the model was spelled.
            groups.setdefault(tuple(step.fingerprint for step in steps), (steps, []))[1].append((facts, sink))
    if not groups:
        raise IngestError(
            "no job has a store with vectors yet", operation="search", object=params.job or "any job",
            remedy=f"Start one with an embedding model and {_a_store(kinds)}", exit=EXIT_TEMPORARY,
        )  # fmt: skip
    notes: list[str] = []
    replies = []
    for steps, stores in groups.values():
        try:
            vectors = [await context.supervisor.search.encode(step, params.text, image) for step in steps]
        except Unavailable as error:  # a model that is gone must not keep the other jobs from answering
            notes.append(f"{', '.join(facts.row.name for facts, _ in stores)}: {error.message}")
            continue
        replies.append(await _group(context, stores, list(zip(steps, vectors, strict=True)), params, notes))
    if all(not group.jobs for group in replies):
        raise Unavailable(
            "; ".join(notes), operation="search", object=params.job or "the jobs",
            remedy="Try again; ingestctl status shows how far each sink has got",
        )  # fmt: skip
    return c.SearchReply([group for group in replies if group.jobs], notes)


def _a_store(kinds: SinkKinds) -> str:
    """The sink that makes a job searchable, as it is asked for."""
    kind = next(kind for kind in sorted(kinds.values(), key=lambda one: not one.default) if kind.vectors)
    return f"the {kind.asked} sink" + " (the default)" * kind.default


def _comparable(facts: JobFacts, kinds: Kinds, *, by_image: bool) -> tuple[Step, ...]:
    """The job's steps whose vectors a query can be compared with: an image only with vectors of pictures."""
    steps = [row.step for row in facts.steps if "dim" in row.step.spec]
    return tuple(step for step in steps if not by_image or (step.kind in kinds and kinds[step.kind].pictures))


async def _group(
    context: VerbContext, stores: list[JobStore], vectors: list[tuple[Step, bytes]], params: c.Search, notes: list[str]
) -> c.SearchGroup:
    """The best hits of jobs with the same encoders; ``vectors`` hold the query's vector for each of their steps.

    A store that does not answer adds to ``notes``.
    """
    limit = max(1, min(params.n, MAX_HITS))
    fused = len(vectors) > 1
    depth = max(limit, FUSION_DEPTH) if fused else limit
    folder = path_bytes(params.path) if params.path is not None else None
    lists: list[dict[str, c.SearchHit]] = [{} for _ in vectors]  # by content: one photo in several jobs is one answer
    names: list[str] = []
    lag = 0
    for facts, sink in stores:
        behind = facts.tally.feed_seq - (facts.cursors[sink].seq if sink in facts.cursors else 0)
        try:
            answers = []
            for step, vector in vectors:
                query = Search(_NO_ID, step.name, vector, depth, folder, params.since, params.until)
                answers.append(await _ask(context, facts, sink, query))
        except Unavailable as error:
            notes.append(f"{facts.row.name}: {error.message} ({behind} changes to deliver)")
            continue
        names.append(facts.row.name)
        lag += max(0, behind)
        for found, hits in zip(lists, answers, strict=True):
            for hit in map(_hit, hits):
                found.setdefault(content_of(hit), hit)
    ordered = [best_first(list(found.values())) for found in lists]
    best = fuse(ordered) if fused else ordered[0]
    model = " + ".join(dict.fromkeys(str(step.spec.get("model", "")) for step, _ in vectors))
    return c.SearchGroup(names, model, best[:limit], lag, "rank fusion" if fused else "cosine")


async def _ask(context: VerbContext, facts: JobFacts, sink: str, query: Search) -> list[Hit]:
    answer = await context.supervisor.search.ask(facts.row.id, sink, query)
    if answer.error:
        raise Unavailable(answer.error, operation="search", object=f"the sink {sink}", remedy="See ingestctl logs")
    return answer.hits


def _hit(hit: Hit) -> c.SearchHit:
    payload: dict[str, Any] = msgspec.json.decode(hit.payload)
    paths = payload.get("paths") or [""]
    b64 = payload.get("path_b64") or {}
    first = b64.get("0") if isinstance(b64, dict) else None
    text = str(payload.get("description") or "")
    total = int(payload.get("paths_total") or len(paths))
    ident = str(payload.get("id") or hit.id)
    return c.SearchHit(hit.score, paths[0], text, ident, paths, total, payload, first)
