"""Values of arguments, from what was typed to what is sent: absolute paths, dates with a zone, numbers in range."""

from __future__ import annotations

import argparse
import os

from ingestctl.rpc import usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


def absolute(path: str) -> bytes:
    """The absolute path as bytes, computed from the text alone: no link is followed and no disk is touched.

    Raises a usage ``CommandError`` for an empty path: an unset variable in a script must not mean this very folder.
    """
    if not path:
        raise usage("it is empty", operation="use", object="a path", remedy="write . for the folder where you are")
    return os.path.abspath(os.fsencode(path))


def expand_home(folder: str) -> str:
    """``~/Pictures`` as a path below the home folder: no shell expands the ``~`` of ``--path=~/Pictures``."""
    return os.path.expanduser(folder) if folder.startswith("~/") or folder == "~" else folder


def name(text: str) -> str:
    """A type for argparse: a job's name, which is not empty and on one line."""
    if not text.strip() or any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: give it letters, on one line, in UTF-8")
    return text


def wire_path(path: str) -> str | dict[str, str]:
    """An absolute path for a request: text, or base64 when its bytes are not UTF-8."""
    raw = absolute(path)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return {"b64": b64encode(raw).decode()}


def sink(text: str) -> str:
    """A sink as it was typed, but for ``jsonl:FILE`` and others that are files: those are made absolute.

    Raises a usage ``CommandError`` for a URL where a file is meant. A kind that nobody knows is the daemon's to refuse.
    """
    from ingestctl import kinds

    scheme, _, place = text.partition(":")
    known = kinds.sink_of(text)
    if known is None or known["place"] != "file" or not place:
        return text
    if "://" in place:
        raise usage(
            "it is a file, not a URL",
            operation="use",
            object=f"the sink {scheme}",
            remedy=f"--sink {scheme}:photos.{scheme}, or --sink qdrant:URL for a server",
        )
    return f"{scheme}:{os.path.abspath(os.path.expanduser(place))}"


def model(text: str) -> str:
    """A model's folder, written ``./folder`` or ``~/folder``, made absolute: the daemon runs elsewhere.

    Text of the form of a hub id, ``org/name``, is a folder where such a folder is here.
    """
    if text.startswith(("./", "../", "~/")) or ("/" in text and ":" not in text and os.path.isdir(text)):
        return os.path.abspath(os.path.expanduser(text))
    return text


def number(low: float | None = None, high: float | None = None) -> Callable[[str], float]:
    """A type for argparse: a finite number within bounds, both included; None is no bound."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (float("-inf") < value < float("inf") and _within(value, low, high)):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number{_span(low, high)}")
        return value

    return convert


def whole(low: float | None = None, high: float | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number within bounds, both included; ``1,000`` and ``1_000`` are a thousand."""

    def convert(text: str) -> int:
        try:
            value: int | None = int(text.replace("_", "").replace(",", ""))
        except ValueError:
            value = None
        if value is None or not _within(value, low, high):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number{_span(low, high)}")
        return value

    return convert


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or low <= value) and (high is None or value <= high)


def _span(low: float | None, high: float | None) -> str:
    """Bounds as the end of a sentence: `` from 0 to 2``, `` of at least 1``, nothing without any."""
    if low is None:
        return "" if high is None else f" of at most {high}"
    return f" of at least {low}" if high is None else f" from {low} to {high}"


count = whole(1)


def cooldown(text: str) -> str:
    """A type for argparse: ``auto`` or seconds."""
    try:
        good = text == "auto" or 0 <= float(text) < float("inf")
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number of seconds")
    return text


def since(text: str | None) -> str | None:
    """``--since`` in RFC 3339, UTC: the first moment of a year, month or day, or the moment itself."""
    return None if text is None else _rfc3339(_moment(text, "--since")[0])


def until(text: str | None) -> str | None:
    """``--until`` in RFC 3339, UTC: the last moment of a year, month or day, or the moment itself."""
    return None if text is None else _rfc3339(_moment(text, "--until")[1])


def _moment(text: str, option: str) -> tuple[datetime, datetime]:
    """The first and the last moment that ``text`` names. Without a zone it is UTC, as in the photos themselves."""
    from datetime import UTC, datetime, timedelta

    parts = text.split("-")
    try:
        if len(parts) <= 3 and all(part.isdecimal() for part in parts) and len(parts[0]) == 4:
            year, month, day = (int(part) for part in (*parts, "1", "1")[:3])
            first = datetime(year, month, day, tzinfo=UTC)
            if len(parts) == 1:
                after = first.replace(year=year + 1)
            elif len(parts) == 2:
                after = first.replace(year=year + month // 12, month=month % 12 + 1)
            else:
                after = first + timedelta(days=1)
            return first, after - timedelta(microseconds=1)
        if len(text) < 16 or text[10] not in "Tt ":
            raise ValueError
        exact = datetime.fromisoformat(text)
        exact = exact.astimezone(UTC) if exact.tzinfo else exact.replace(tzinfo=UTC)
        return exact, exact
    except (ValueError, OverflowError):
        raise usage(
            "that is no date",
            operation="read",
            object=f"{option} {text!r}",
            remedy="write 2024, 2024-05, 2024-05-17 or 2024-05-17T18:30:00Z",
        ) from None


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
