"""Paths are bytes; people and JSON need text. Both ways, without loss."""

from __future__ import annotations

import base64

import msgspec


class PathB64(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A path whose bytes are not UTF-8, in standard base64."""

    b64: str


def shown(path: bytes) -> tuple[str, str | None]:
    """A path as text for people, and its bytes in base64 when the text lost something (else None)."""
    text = path.decode("utf-8", "replace")
    return text, None if text.encode() == path else base64.b64encode(path).decode()


def path_bytes(path: str | PathB64) -> bytes:
    """The bytes of a path from a request. Raises ``ValueError`` on base64 that is none."""
    return path.encode() if isinstance(path, str) else base64.b64decode(path.b64, validate=True)
