"""Text for a terminal: numbers, durations, sizes, colours; control characters become escapes."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

# Not printable by Python's book, yet harmless and common in names: other spaces (macOS puts U+202F into the names of
# screenshots) and the joiners inside emoji and Indic scripts.
_HARMLESS = "\u00a0\u202f\u2009\u3000\u200d\u200c"


def clean(text: str) -> str:
    """``text`` on one line, without control characters, direction overrides or surrogates: they become escapes."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in _HARMLESS else _escaped(c) for c in text])


def _escaped(character: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    if known:
        return known
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Paint:
    """``paint("red", text)``: ``text`` in a style, or as it is where colour is not wanted."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.on and text and style else text


def paint_for(stream: TextIO, choice: str) -> Paint:
    """Colour by ``--color``; ``auto`` means a terminal that is not dumb, and no ``NO_COLOR``."""
    if choice != "auto":
        return Paint(choice == "always")
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Paint(not plain and stream.isatty())


def columns(stream: TextIO, default: int = 100) -> int:
    """The terminal's width in cells."""
    try:
        return int(os.environ.get("COLUMNS", 0)) or os.get_terminal_size(stream.fileno()).columns or default
    except (OSError, ValueError):
        return default


def width(text: str) -> int:
    """Cells that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, cells: int) -> str:
    """``text`` shortened in its middle to ``cells``: the ends of a path say most."""
    if width(text) <= cells:
        return text
    head, tail = text, ""
    half = max(0, cells - 1) // 2
    while head and width(head) > half:
        head = head[:-1]
    for start in range(len(text) - 1, -1, -1):
        if width(text[start:]) > cells - 1 - width(head):
            break
        tail = text[start:]
    return f"{head}…{tail}"


def bar(fraction: float, cells: int, plain: bool = False) -> str:
    """A bar of ``cells`` cells; it is full only at 1."""
    full = min(cells, int(max(0.0, fraction) * cells))
    return ("#" * full + "-" * (cells - full)) if plain else ("█" * full + "░" * (cells - full))


def number(value: int) -> str:
    return f"{value:,}"


def many(value: int, one: str, more: str = "") -> str:
    """``1 item``, ``2,000 items``."""
    return f"{value:,} {one if value == 1 else more or one + 's'}"


def percent(value: float) -> str:
    """Rounded down, so that 100 % means all."""
    return f"{int(value * 10) / 10:.1f} %" if value < 100 else "100 %"


def duration(seconds: float) -> str:
    """``0.4 s``, ``45 s``, ``12 min``, ``3 h 20 min``, ``2 days 4 h``."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s" if 0.05 <= seconds < 9.95 else "0 s" if seconds < 0.05 else "10 s"
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return many(days, "day") + (f" {hours} h" if hours else "")


def ago(seconds: float) -> str:
    return "just now" if seconds < 1 else f"{duration(round(seconds))} ago".replace(".0 s", " s")


def span(low: float, high: float) -> str:
    """A range of durations, rounded as a forecast should be: ``3 h to 4 h``, ``about 20 min``."""
    first, last = _coarse(low, up=False), _coarse(high, up=True)
    return f"about {last}" if first == last else f"{first} to {last}"


def _coarse(seconds: float, *, up: bool) -> str:
    seconds = max(1.0, seconds)
    for limit, unit, step, name in ((90, 1, 5, "s"), (5400, 60, 1, "min"), (172800, 3600, 1, "h")):
        if seconds < limit:
            return f"{_stepped(seconds / unit, step, up)} {name}"
    return many(_stepped(seconds / 86400, 1, up), "day")


def _stepped(value: float, step: int, up: bool) -> int:
    whole = int(value // step) * step
    return whole + step if up and whole < value else max(whole, 1)


def size(value: float) -> str:
    """Bytes in decimal units: ``61 MB``, ``1.2 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit in ("bytes", "kB") or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def clock(at: float) -> str:
    """A moment in local time."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
