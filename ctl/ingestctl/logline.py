"""A log line for a person: one JSON line of the log as ``09:35:27 warning  item failed  job=photos item=4``."""

from __future__ import annotations

import json

from ingestctl.terminal_text import Paint, clean, clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LEVEL_STYLES = {"debug": "dim", "info": "green", "warning": "yellow", "error": "red", "critical": "red"}
_HEAD = ("time", "level", "event")


def shown(line: str, paint: Paint) -> str:
    """``line`` as readable text; a line that the daemon did not write (the service manager did) as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        return clean(line)
    fields = {key: value for key, value in entry.items() if key not in _HEAD and value not in (None, "", [], {})}
    level = clean(str(entry.get("level", "")))
    words = [
        paint("dim", _moment(str(entry.get("time", "")))),
        paint(_LEVEL_STYLES.get(level, ""), f"{level:<8}"),
        paint("bold", clean(entry["event"])),
        *(f"{paint('cyan', clean(key))}={_value(value)}" for key, value in fields.items() if not _is_long(value)),
    ]
    lines = [" ".join(words)]
    for key, value in fields.items():
        if _is_long(value):
            lines += [f"  {paint('cyan', clean(key))}", *("    " + clean(one) for one in _lines(value))]
    return "\n".join(lines)


def _moment(utc: str) -> str:
    """Local date and time of a moment in UTC; text that is no moment is returned as it is."""
    from calendar import timegm
    from time import strptime

    try:
        return clock(timegm(strptime(utc[:19], "%Y-%m-%dT%H:%M:%S")))
    except (ValueError, OverflowError):
        return clean(utc)


def _is_long(value: Any) -> bool:
    """Whether it is shown on lines of its own: a traceback, the last output of a child."""
    if isinstance(value, str):
        return "\n" in value
    return isinstance(value, list) and any(" " in one for one in value if isinstance(one, str))


def _lines(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else str(value).rstrip("\n").split("\n")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(clean(str(one)) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{clean(str(key))}:{clean(str(one))}" for key, one in value.items())
    text = clean(str(value))
    return f'"{text}"' if " " in text or not text else text
