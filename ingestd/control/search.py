"""The verb ``search``: which stores to ask, one query vector per encoder, hits in one order."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ingestd.config import VECTOR_SINKS
from ingestd.errors import EXIT_TEMPORARY, EXIT_USAGE, IngestError, Unavailable
from ingestd.ledger.report import JobFacts
from ingestd.protocol import control as c
from ingestd.protocol.pathtext import path_bytes
from ingestd.protocol.sink import Hit, Search
from ingestd.protocol.work import Step

if TYPE_CHECKING:
    from ingestd.control.verbs import Verbs

_NO_ID = 0
"""``supervisor.sinks`` numbers queries itself."""

MAX_HITS: Final = 1000

FUSION_K: Final = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a hit at rank r of one list is
worth 1 / (k + r)."""

FUSION_DEPTH: Final = 100
"""Hits of each list that are fused at least: a photo that is middling in both lists may be best in all."""

Store = tuple[JobFacts, str]
"""A job and the name of its sink with vectors."""


def _vectors_of(facts: JobFacts, *, images: bool) -> tuple[Step, ...]:
    """The steps whose vectors a query can be held against: with an image, those of pictures alone."""
    steps = [row.step for row in facts.steps if "dim" in row.step.spec]
    return tuple(step for step in steps if step.kind == "embed" or not images)


async def find(verbs: Verbs, params: c.Search) -> c.SearchReply:
    """Ask every job with a store (or the one named); jobs with the same encoders are merged into one group."""
    image = path_bytes(params.like) if params.like is not None else None
    if (image is None) == (not params.text.strip()):
        raise IngestError(
            "give words, or an image with --like, and not both" if image else "it is empty", operation="search for",
            object="the query", remedy="Say what to look for", exit=EXIT_USAGE,
        )  # fmt: skip
    chosen = [await verbs.one(params.job, "search")] if params.job else await verbs.facts()
    groups: dict[tuple[str, ...], tuple[tuple[Step, ...], list[Store]]] = {}
    for facts in chosen:
        sink = next((sink.name for sink in facts.row.sinks if sink.kind in VECTOR_SINKS), None)
        steps = _vectors_of(facts, images=image is not None)
        if sink is not None and steps:
            # Equal fingerprints mean equal vectors, however the model was spelled.
            groups.setdefault(tuple(step.fingerprint for step in steps), (steps, []))[1].append((facts, sink))
    if not groups:
        raise IngestError(
            "no job has a store with vectors yet", operation="search", object=params.job or "any job",
            remedy="Start one with an embedding model and the qdrant sink (the default)", exit=EXIT_TEMPORARY,
        )  # fmt: skip
    notes: list[str] = []
    replies = []
    for steps, stores in groups.values():
        try:
            vectors = [await verbs.supervisor.search.encode(step, params.text, image) for step in steps]
        except Unavailable as error:  # a model that is gone must not keep the other jobs from answering
            notes.append(f"{', '.join(facts.row.name for facts, _ in stores)}: {error.message}")
            continue
        replies.append(await _group(verbs, stores, list(zip(steps, vectors, strict=True)), params, notes))
    if all(not group.jobs for group in replies):
        raise Unavailable(
            "; ".join(notes), operation="search", object=params.job or "the jobs",
            remedy="Try again; ingestctl status shows how far each sink has got",
        )  # fmt: skip
    return c.SearchReply([group for group in replies if group.jobs], notes)


async def _group(
    verbs: Verbs, stores: list[Store], vectors: list[tuple[Step, bytes]], params: c.Search, notes: list[str]
) -> c.SearchGroup:
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
            answers = [
                await _ask(
                    verbs,
                    facts,
                    sink,
                    Search(_NO_ID, step.kind, vector, depth, folder, params.since, params.until),
                )
                for step, vector in vectors
            ]
        except Unavailable as error:
            notes.append(f"{facts.row.name}: {error.message} ({behind} changes to deliver)")
            continue
        names.append(facts.row.name)
        lag += max(0, behind)
        for found, hits in zip(lists, answers, strict=True):
            for hit in map(_hit, hits):
                found.setdefault(_content(hit), hit)
    ordered = [_best(list(found.values())) for found in lists]
    best = fuse(ordered) if fused else ordered[0]
    model = " + ".join(dict.fromkeys(str(step.spec.get("model", "")) for step, _ in vectors))
    return c.SearchGroup(names, model, best[:limit], lag, "rank fusion" if fused else "cosine")


async def _ask(verbs: Verbs, facts: JobFacts, sink: str, query: Search) -> list[Hit]:
    answer = await verbs.supervisor.search.ask(facts.row.id, sink, query)
    if answer.error:
        raise Unavailable(answer.error, operation="search", object=f"the sink {sink}", remedy="See ingestctl logs")
    return answer.hits


def _best(hits: list[c.SearchHit]) -> list[c.SearchHit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.path))


def fuse(lists: list[list[c.SearchHit]]) -> list[c.SearchHit]:
    """One order from several, best first: a hit's ``score`` becomes the sum of 1 / (``FUSION_K`` + its rank)."""
    scores: dict[str, float] = defaultdict(float)
    known: dict[str, c.SearchHit] = {}
    for hits in lists:
        for rank, hit in enumerate(hits, 1):
            scores[_content(hit)] += 1 / (FUSION_K + rank)
            known[_content(hit)] = hit
    return _best([msgspec.structs.replace(known[ident], score=score) for ident, score in scores.items()])


def _content(hit: c.SearchHit) -> str:
    """What a hit is of, the same in every job; a point's id is not."""
    return str(hit.payload.get("sha256") or hit.id)


def _hit(hit: Hit) -> c.SearchHit:
    payload: dict[str, Any] = msgspec.json.decode(hit.payload)
    paths = payload.get("paths") or [""]
    b64 = payload.get("path_b64") or {}
    first = b64.get("0") if isinstance(b64, dict) else None
    text = str(payload.get("description") or "")
    total = int(payload.get("paths_total") or len(paths))
    ident = str(payload.get("id") or hit.id)
    return c.SearchHit(hit.score, paths[0], text, ident, paths, total, payload, first)
