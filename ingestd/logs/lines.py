"""A log line: its fields in order, tidy and without secrets, and the JSON text that every target carries."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import msgspec

from ingestd.logs.secrets import hidden, without

FIRST: Final = ("time", "level", "event", "job", "item", "items", "batch", "pid")
"""Fields that stand first in a line, in this order. ``pid`` is the child's that the line is about, ``items`` several
items that it concerns; any other field follows in the order of the call."""

MAX_TEXT: Final = 8_000
"""Characters of one value: a library's exception may quote a whole file. A traceback keeps both its ends."""

MAX_MEMBER: Final = 500
"""Characters of a member of a list: each of a child's last lines."""

MAX_LIST: Final = 64
"""Members of a list: the items of one window, or the last lines of a child."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. ``fields`` are what ``text`` (JSON, without the newline) holds; ``at`` is Unix seconds.

    ``code`` is the call's file, line and function.
    """

    level: str
    at: float
    fields: dict[str, Any]
    text: bytes
    code: tuple[str, int, str] = ("", 0, "")


def make_line(
    level: str, fields: dict[str, Any], secrets: Collection[str] = (), code: tuple[str, int, str] = ("", 0, "")
) -> Line:
    """A line of now. Whatever the values are, it does not raise: a log call must not be what ends the daemon."""
    at = time.time()
    head = {"time": _utc(at), "level": level}
    try:
        named = {key: fields[key] for key in FIRST if key in fields}
        told = head | {key: _tidy(value, secrets) for key, value in (named | fields).items()}
        return Line(level, at, told, msgspec.json.encode(told), code)
    except Exception as error:  # a value whose own __str__ raises, say
        told = head | {"event": "a log line could not be made", "cause": type(error).__name__}
        return Line("error", at, told | {"level": "error"}, msgspec.json.encode(told | {"level": "error"}), code)


def finisher(secrets: Collection[str]) -> Callable[[Any, str, MutableMapping[str, Any]], tuple[Any, ...]]:
    """The last structlog processor: the event becomes the one argument of the outlet's method."""

    def finish(_: Any, __: str, event: MutableMapping[str, Any]) -> tuple[Any, ...]:
        return (make_line(event.pop("level"), dict(event), secrets, _caller()),), {}

    return finish


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tidy(value: Any, secrets: Iterable[str], longest: int = MAX_TEXT) -> Any:
    """JSON's own types, texts cut, readable and without secrets."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 64 else str(value)
    if isinstance(value, dict):
        return {str(key): _tidy(one, secrets, MAX_MEMBER) for key, one in islice(value.items(), MAX_LIST)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_tidy(one, secrets, MAX_MEMBER) for one in islice(value, MAX_LIST)]
    text = os.fsdecode(value) if isinstance(value, bytes | os.PathLike) else str(value)
    if not text.isascii():
        # Bytes of a path that are no UTF-8 are lone surrogates here, which JSON cannot carry: they become U+FFFD.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    # What a cut halves would not be recognised as a secret: the known ones are looked for in the whole text, the
    # others on both sides of the cut.
    text = without(text, secrets)
    half = longest // 2
    if len(text) <= longest:
        return hidden(text)
    head, tail = hidden(text[: half + _MARGIN]), hidden(text[-half - _MARGIN :])
    return f"{head[:half]}… ({len(text) - 2 * half:,} characters) …{tail[-half:]}"


_MARGIN: Final = 256


_OWN: Final = ("structlog", "ingestd.logs")


def _caller() -> tuple[str, int, str]:
    """The first frame outside structlog and this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
