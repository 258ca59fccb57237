"""The log for a person who looks on: one readable line an event, coloured, with nothing in it that steers one."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from ingestd.logs.lines import Line
from ingestd.logs.log_queue import TargetGone

_LEVEL_STYLES: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}
_HEAD: Final = ("time", "level", "event")
_HARMLESS: Final = "\u00a0\u202f\u2009\u3000\u200d\u200c"
"""Not printable by Python's book, yet common in names: other spaces, the joiners inside emoji and Indic scripts."""

_GONE: Final = frozenset((errno.EIO, errno.EPIPE, errno.ENXIO, errno.EBADF))


class Terminal:
    """A terminal as a target: the descriptor ``handle``, which stays its owner's."""

    name = "terminal"

    def __init__(self, handle: int, colour: bool) -> None:
        self._handle, self._colour = handle, colour
        self._rest = b""

    def write(self, line: Line) -> None:
        # A line that was begun is ended first, when the try before this one got only so far.
        rest = self._rest or readable(line, self._colour).encode(errors="replace")
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError as error:
            if error.errno in _GONE:
                raise TargetGone from None
            raise
        finally:
            self._rest = rest

    def reopen(self) -> None:
        """A terminal is what it is."""

    def close(self) -> None:
        """The descriptor is the process's own stderr: others go on using it."""


def wants_colour(environ: Mapping[str, str]) -> bool:
    """By the convention of no-color.org, and not for a terminal that says it is dumb."""
    return not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def readable(line: Line, colour: bool) -> str:
    """``12:03:04 warning  worker died  job=photos batch=12``; what has several lines follows, indented."""

    def paint(style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if colour else text

    fields = {key: value for key, value in line.fields.items() if key not in _HEAD and value not in (None, "", [])}
    below = {key: _lines(value) for key, value in fields.items() if _is_long(value)}
    words = [
        paint("2", time.strftime("%H:%M:%S", time.localtime(line.at))),
        paint(_LEVEL_STYLES.get(line.level, "0"), f"{line.level:<8}"),
        paint("1", clean(str(line.fields.get("event", "")))),
        *(f"{paint('36', clean(key))}={clean(_shown(fields[key]))}" for key in fields if key not in below),
    ]
    shown = [" ".join(words)]
    for key, lines in below.items():
        shown += ["  " + paint("36", clean(key)), *("    " + clean(one) for one in lines)]
    return "\n".join(shown) + "\n"


def _is_long(value: Any) -> bool:
    return "\n" in value if isinstance(value, str) else isinstance(value, list) and any(" " in str(v) for v in value)


def _lines(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else str(value).rstrip().split("\n")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return f'"{text}"' if " " in text or "=" in text else text


def clean(text: str) -> str:
    """Control characters and direction overrides as escapes: names of files are anybody's."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _HARMLESS else c.encode("unicode_escape").decode() for c in text)
