"""What is written for a content: a ``Record`` of the feed as the JSON document of a line, or as a point's payload.

Paths are bytes; JSON is text. ``paths`` shows each path with U+FFFD for what is not UTF-8, and ``path_b64`` (present
only if there is such a path) maps its index in ``paths``, as a string, to the base64 of its bytes:
``{"paths": ["/p/a.jpg", "/p/b\\ufffd.jpg"], "path_b64": {"1": "L3AvYv8uanBn"}}``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec

from ingestd.kinds.steps import SHIPPED
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import Search

MAX_POINT_PATHS: Final = 100
"""Paths of a payload: a thumbnail copied into ten thousand folders must not make a point that costs megabytes."""

META: Final = "meta"
DESCRIBE: Final = "describe"

TOLD: Final = frozenset(SHIPPED)
"""Steps whose results have keys of their own in a document, or are a vector alone. The others' stand under
``results``, by the names of the steps."""


def point_id(job: UUID, sha256: bytes) -> UUID:
    """The key of a content within a job, the same in every sink: UUIDv5(job uuid, sha256 as hex)."""
    return uuid5(job, sha256.hex())


def document(job: UUID, record: Record) -> dict[str, Any]:
    """The JSON document of a content. Keys: ``id sha256 paths paths_total path_b64? bytes format width height meta
    description tags odd? results? steps updated_at``.

    ``results`` maps the name of each other step to what it made. ``odd`` says what is odd about a description that is
    kept all the same: ``empty``, ``cut`` or ``loop``. ``meta`` is that step's whole result or null, ``steps`` maps a
    step's name to its fingerprint, ``updated_at`` is RFC 3339 in UTC."""
    results = record.results or {}
    bodies = {
        name: msgspec.json.decode(made.body)
        for name, made in results.items()
        if name in (META, DESCRIBE) or name not in TOLD
    }
    others = {name: body for name, body in bodies.items() if name not in TOLD}
    described = bodies.get(DESCRIBE) or {}
    found: dict[str, Any] = {
        "id": str(point_id(job, record.sha256)),
        "sha256": record.sha256.hex(),
        "paths": [shown(path) for path in record.paths],
        "paths_total": record.paths_total,
    }
    if odd := {str(at): _b64(path) for at, path in enumerate(record.paths) if not _is_text(path)}:
        found["path_b64"] = odd
    return found | {
        "bytes": record.size,
        "format": record.format,
        "width": record.width,
        "height": record.height,
        "meta": bodies.get(META),
        "description": described.get("description"),
        "tags": described.get("tags", []),
        **({"odd": described["odd"]} if "odd" in described else {}),
        **({"results": others} if others else {}),
        "steps": {name: made.fingerprint for name, made in results.items()},
        "updated_at": rfc3339(record.updated_at),
    }


def tombstone(job: UUID, record: Record) -> dict[str, Any]:
    """What a log of documents says of a content that is no longer there."""
    return {"id": str(point_id(job, record.sha256)), "deleted": True}


def payload(job: UUID, record: Record) -> dict[str, Any]:
    """A point's payload: the document of a record with at most ``MAX_POINT_PATHS`` paths, and what searches filter by.

    ``ingestd_job`` is the job's uuid, ``dirs`` every ancestor folder of those paths as ``shown``, ``taken_at`` the
    time of exposure (RFC 3339) or null.
    """
    found = document(job, record)
    meta = found["meta"] or {}
    return found | {"ingestd_job": str(job), "dirs": folders(record.paths), "taken_at": meta.get("taken_at")}


def shown(path: bytes) -> str:
    """A path as text: U+FFFD stands for what is not UTF-8."""
    return path.decode("utf-8", "replace")


def folders(paths: Iterable[bytes]) -> list[str]:
    """Every ancestor folder of absolute ``paths``, ``/`` included, each once, as ``shown``."""
    found: dict[str, None] = {}
    for path in paths:
        while path != b"/":
            path = path[: path.rfind(b"/")] or b"/"
            folder = shown(path)
            if folder in found:
                break  # its ancestors are there too
            found[folder] = None
    return list(found)


def rfc3339(ms: int) -> str:
    """Unix milliseconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(ms / 1e3, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_text(path: bytes) -> bool:
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _b64(path: bytes) -> str:
    return base64.b64encode(path).decode("ascii")


def folder_of(ask: Search) -> str | None:
    """The value of ``dirs`` that a search asks for."""
    return None if ask.folder is None else shown(ask.folder.rstrip(b"/") or b"/")
