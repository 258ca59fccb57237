"""The verb ``search``: which stores to ask, one query vector per encoder, hits in one order."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from ingestd.errors import EXIT_TEMPORARY, IngestError, Unavailable
from ingestd.ledger.report import JobFacts
from ingestd.protocol import control as c
from ingestd.protocol.work import Hit, Search, Step

if TYPE_CHECKING:
    from ingestd.control.verbs import Verbs

_NO_ID = 0
"""The sink desk numbers queries itself."""


def _store_of(facts: JobFacts) -> tuple[str, Step] | None:
    """The sink of a job that can be searched, and the step whose vectors it holds."""
    sink = next((sink.name for sink in facts.row.sinks if sink.kind == "qdrant"), None)
    step = next((row.step for row in facts.steps if "dim" in row.step.spec), None)
    return (sink, step) if sink and step else None


async def find(verbs: Verbs, params: c.Search) -> c.SearchReply:
    """Ask every job with a store (or the one named); jobs with one encoder are merged into one group."""
    if not params.text.strip():
        raise IngestError(
            "it is empty", operation="search for", object="the text", remedy="Say what to look for", exit=2
        )
    chosen = [await verbs.one(params.job, "search")] if params.job else await verbs.facts()
    groups: dict[str, list[tuple[JobFacts, str, Step]]] = defaultdict(list)
    for facts in chosen:
        if store := _store_of(facts):
            groups[store[1].fingerprint].append((facts, *store))
    if not groups:
        raise IngestError(
            "no job has a store with vectors yet", operation="search", object=params.job or "any job",
            remedy="Start one with an embedding model and the qdrant sink (the default)", exit=EXIT_TEMPORARY,
        )  # fmt: skip
    limit = max(1, min(params.n, 1000))
    folder = c.path_bytes(params.path) if params.path is not None else None
    notes: list[str] = []
    replies = []
    for members in groups.values():
        step = members[0][2]
        vector = await verbs.supervisor.search.encode(step, params.text)
        query = Search(_NO_ID, step.kind, vector, limit, folder, params.since, params.until)
        replies.append(await _group(verbs, members, query, notes))
    if all(not group.jobs for group in replies):
        raise Unavailable(
            "; ".join(notes), operation="search", object=params.job or "the jobs",
            remedy="Try again; ingestctl status shows how far each sink has got",
        )  # fmt: skip
    return c.SearchReply([group for group in replies if group.jobs], notes)


async def _group(
    verbs: Verbs, members: list[tuple[JobFacts, str, Step]], query: Search, notes: list[str]
) -> c.SearchGroup:
    hits: dict[str, c.SearchHit] = {}  # by content: one photo in several jobs is one answer
    names: list[str] = []
    lag = 0
    for facts, sink, _ in members:
        behind = facts.tally.feed_seq - (facts.cursors[sink].seq if sink in facts.cursors else 0)
        try:
            answer = await verbs.supervisor.search.ask(facts.row.id, sink, query)
            if answer.error:
                raise Unavailable(
                    answer.error, operation="search", object=f"the sink {sink}", remedy="See ingestctl logs"
                )
        except Unavailable as error:
            notes.append(f"{facts.row.name}: {error.message} ({behind} changes to deliver)")
            continue
        names.append(facts.row.name)
        lag += max(0, behind)
        for hit in answer.hits:
            found = _hit(hit)
            hits.setdefault(found.id, found)
    best = sorted(hits.values(), key=lambda hit: (-hit.score, hit.path))[: query.limit]
    return c.SearchGroup(names, str(members[0][2].spec.get("model", "")), best, lag)


def _hit(hit: Hit) -> c.SearchHit:
    payload: dict[str, Any] = msgspec.json.decode(hit.payload)
    paths = payload.get("paths") or [""]
    b64 = payload.get("path_b64") or {}
    first = b64.get("0") if isinstance(b64, dict) else None
    text = str(payload.get("description") or "")
    total = int(payload.get("paths_total") or len(paths))
    ident = str(payload.get("id") or hit.id)
    return c.SearchHit(hit.score, paths[0], text, ident, paths, total, payload, first)
