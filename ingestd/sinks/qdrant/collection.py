"""A collection on a server: what one of ours is like, how another differs, and indexing put off during a bulk load.

While many thousands of points come at once, building HNSW graphs again and again costs the server more than the
points themselves: the threshold from which it builds one is raised out of reach, and put back when the sink has
caught up. The raised number holds the old one (``DEFERRED`` plus it), so that whoever comes after a crash knows both
that it was raised and to what it goes back: the state lies on the server alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qdrant_client import QdrantClient, models

from ingestd.errors import Misconfigured
from ingestd.sinks.qdrant.points import INDEXES
from ingestd.sinks.qdrant.server_connection import Absent, Rejected, ServerConnection

DEFERRED: Final = 10**12
"""Kilobytes of unindexed vectors in a segment, a petabyte: never reached. Qdrant takes any 64-bit number of bytes."""

USUAL: Final = 10_000
"""Kilobytes: the threshold of a server that does not say its own, as its documentation gives it."""


def find(connection: ServerConnection) -> models.CollectionInfo | None:
    """The collection as it is there; None when there is none. Raises as ``ServerConnection.call`` does."""
    try:
        return connection.call("open", lambda client: client.get_collection(connection.collection))
    except Absent:
        return None


def make(connection: ServerConnection, vectors: Mapping[str, int]) -> None:
    """Create it with one cosine vector per name. One that appeared meanwhile is left as it is."""
    fields = {name: models.VectorParams(size=dim, distance=models.Distance.COSINE) for name, dim in vectors.items()}
    try:
        connection.call("make", lambda client: client.create_collection(connection.collection, vectors_config=fields))
    except Rejected as error:
        if find(connection) is None:
            raise connection.misconfigured(
                error.message, "make", "Change what the server objects to, or its limits"
            ) from None


def index(connection: ServerConnection, info: models.CollectionInfo) -> None:
    """Give the fields that searches filter by the indexes that they lack; one of another kind is left as it is."""
    for name, kind in INDEXES.items():
        if name not in (info.payload_schema or {}):
            schema = models.PayloadSchemaType(kind)

            def ask(client: QdrantClient, name: str = name, schema: models.PayloadSchemaType = schema) -> object:
                return client.create_payload_index(connection.collection, name, field_schema=schema, wait=True)

            try:
                connection.call("index", ask)
            except Rejected as error:
                raise connection.misconfigured(
                    f"no index on {name}: {error.message}", "open", "Change what the server objects to"
                ) from None


def differences(info: models.CollectionInfo, vectors: Mapping[str, int]) -> list[str]:
    """Why points with ``vectors`` (name → dimension) cannot be written there, or would be spoilt; empty when they can.

    Vectors of other names do not matter: our points lack them, and other programs' points lack ours.
    """
    params = info.config.params
    there = params.vectors
    found = []
    if isinstance(there, models.VectorParams):
        return [f"it has one vector without a name, and {_listed(vectors)} is needed"]
    for name, dim in vectors.items():
        field = (there or {}).get(name)
        if field is None:
            names = ", ".join(sorted(there or {})) or "none"
            found.append(f"it has no vector named {name} (it has {names})")
            continue
        if field.size != dim:
            found.append(f"its vector {name} has {field.size} dimensions, the model's has {dim}")
        if field.distance != models.Distance.COSINE:
            found.append(f"its vector {name} is compared by {field.distance.value}, not by Cosine")
        if field.multivector_config is not None:
            found.append(f"its vector {name} is a multivector")
        if field.datatype == models.Datatype.UINT8:
            found.append(f"its vector {name} holds whole numbers from 0 to 255, which would round ours to nothing")
    if params.sharding_method == models.ShardingMethod.CUSTOM:
        found.append("it is sharded by keys of its own, and a point of ours has none")
    return found


def deferred(info: models.CollectionInfo) -> bool:
    """Whether indexing is put off there, by us."""
    return (info.config.optimizer_config.indexing_threshold or 0) >= DEFERRED


def defer(connection: ServerConnection) -> bool:
    """Put indexing off; whether it is now. A server that never indexes by its own settings is left alone.

    A key that may write points and not change collections is no error: the load is slower, that is all.
    """
    info = find(connection)
    if info is None:
        return False
    threshold = info.config.optimizer_config.indexing_threshold
    if threshold is None or 0 < threshold < DEFERRED:
        try:
            _set(connection, DEFERRED + (threshold or USUAL))
        except (Rejected, Misconfigured) as error:
            print(f"qdrant: indexing goes on during the bulk load: {error}", flush=True)
            return False
    return threshold != 0


def restore(connection: ServerConnection) -> None:
    """Let it index again, from the threshold that it had."""
    info = find(connection)
    if info is not None and deferred(info):
        _set(connection, max(1, (info.config.optimizer_config.indexing_threshold or 0) - DEFERRED))


def _set(connection: ServerConnection, threshold: int) -> None:
    change = models.OptimizersConfigDiff(indexing_threshold=threshold)
    connection.call("set up", lambda client: client.update_collection(connection.collection, optimizers_config=change))


def _listed(vectors: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({dim})" for name, dim in vectors.items())
