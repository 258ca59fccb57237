"""What both Qdrant sinks write and ask alike: which contents have a point, its vectors, the indexed payload fields."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Final

from ingestd.ledger.reader import Record

INDEXES: Final = {"dirs": "keyword", "taken_at": "datetime", "ingestd_job": "keyword"}
"""Payload fields that searches filter by, and the kind of index that each has, in Qdrant's words."""


def floats(vector: bytes) -> list[float]:
    """Little-endian float32 as numbers."""
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


def vectors_of(record: Record, names: Collection[str]) -> dict[str, list[float]]:
    """A content's vectors by name. Empty for a deleted one and for one without any: it has no point."""
    made = () if record.deleted else (record.results or {}).items()
    return {kind: floats(one.vector) for kind, one in made if kind in names and one.vector is not None}
