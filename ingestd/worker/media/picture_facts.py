"""What a photo says about itself, as one JSON object: the body of the ``meta`` step.

Keys: ``format width height orientation`` always; ``taken_at camera gps exposure`` where the file has them. EXIF is
written by cameras and mangled by tools: whatever does not make sense is left out, it never fails an item.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from PIL import Image

META_VERSION: Final = 1
"""The fingerprint of the ``meta`` step: raise it when the same file gives other values."""

_EXIF_IFD: Final = 0x8769
_GPS_IFD: Final = 0x8825
_MAX_TEXT: Final = 200

# (date tag, its offset tag, its sub-second tag) in the order of trust: the moment of exposure, of digitising (scans),
# of the last change. EXIF 2.32, tables 4 and 8.
_DATES: Final = ((0x9003, 0x9011, 0x9291), (0x9004, 0x9012, 0x9292), (0x0132, 0x9010, 0x9290))


def facts(format: str, width: int, height: int, orientation: int, exif: Image.Exif | None) -> dict[str, object]:
    """The body of the ``meta`` step for a picture. Never raises for bad EXIF."""
    found: dict[str, object] = {"format": format, "width": width, "height": height, "orientation": orientation}
    return found | exif_facts(*_tags(exif))


def exif_facts(tags: Mapping[int, object], gps: Mapping[int, object]) -> dict[str, object]:
    """What the tags (base and EXIF directories merged, by number) and the GPS directory say; only what is sound."""
    found: dict[str, object | None] = {
        "taken_at": _quietly(lambda: _taken_at(tags)),
        "camera": _some(
            {"make": _text(tags.get(0x010F)), "model": _text(tags.get(0x0110)), "lens": _text(tags.get(0xA434))}
        ),
        "gps": _quietly(lambda: _gps(gps)),
        "exposure": _quietly(
            lambda: _some(
                {
                    "time_s": _positive(tags.get(0x829A)),
                    "f_number": _positive(tags.get(0x829D)),
                    "iso": _positive(_first(tags.get(0x8827))),
                    "focal_mm": _positive(tags.get(0x920A)),
                }
            )
        ),
    }
    return {key: value for key, value in found.items() if value is not None}


def _tags(exif: Image.Exif | None) -> tuple[dict[int, object], dict[int, object]]:
    if exif is None:
        return {}, {}
    base = _quietly(lambda: dict(exif)) or {}
    more = _quietly(lambda: dict(exif.get_ifd(_EXIF_IFD))) or {}
    gps = _quietly(lambda: dict(exif.get_ifd(_GPS_IFD))) or {}
    return {**base, **more}, gps


def _taken_at(tags: Mapping[int, object]) -> str | None:
    for date, offset, fraction in _DATES:
        moment = _moment(_text(tags.get(date)), _text(tags.get(offset)), _text(tags.get(fraction)))
        if moment is not None:
            return moment
    return None


def _moment(date: str | None, offset: str | None, fraction: str | None) -> str | None:
    """RFC 3339 of an EXIF date ("2021:07:04 12:30:00"); without a zone it is read as UTC."""
    if date is None:
        return None
    try:
        # Some programs write ISO dates; 19 characters hold everything up to the seconds.
        moment = datetime.strptime(date[:19].replace("-", ":").replace("T", " "), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return None
    if moment.year < 1826:  # the first photograph; cameras without a set clock write year 0 or 1
        return None
    if fraction and fraction.isdecimal() and fraction.isascii():
        moment = moment.replace(microsecond=int(fraction[:6].ljust(6, "0")))
    text = moment.replace(tzinfo=_zone(offset)).isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def _zone(offset: str | None) -> timezone:
    """The zone of an EXIF offset ("+02:00"); UTC when there is none that makes sense."""
    if offset is None or len(offset) != 6 or offset[0] not in "+-" or offset[3] != ":":
        return UTC
    hours, minutes = offset[1:3], offset[4:6]
    if not (hours + minutes).isdecimal() or int(hours) > 14 or int(minutes) > 59:
        return UTC
    span = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(span if offset[0] == "+" else -span)


def _gps(gps: Mapping[int, object]) -> dict[str, object] | None:
    lat = _degrees(gps.get(2), gps.get(1), "S", 90)
    lon = _degrees(gps.get(4), gps.get(3), "W", 180)
    # Exactly 0, 0 lies in the sea and is what a receiver without a fix writes.
    if lat is None or lon is None or (lat == 0 and lon == 0):
        return None
    place: dict[str, object] = {"lat": lat, "lon": lon}
    alt = _number(gps.get(6))
    if alt is not None:
        below = gps.get(5) in (1, b"\x01")
        place["alt"] = round(-alt if below else alt, 1)
    return place


def _degrees(value: object, ref: object, negative: str, limit: int) -> float | None:
    """Degrees from (degrees, minutes, seconds), negative to the south and west; 7 decimals are a centimetre."""
    if not isinstance(value, tuple | list) or not 1 <= len(value) <= 3:
        return None
    parts = [_number(part) for part in value]
    total = 0.0
    for part, unit in zip(parts, (1, 60, 3600), strict=False):
        if part is None or part < 0:
            return None
        total += part / unit
    if total > limit:
        return None
    return round(-total if (_text(ref) or "").upper() == negative else total, 7)


def _positive(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _number(value: object) -> float | None:
    """A finite float of an int, a float or a rational; None of anything else (a rational may be 0/0)."""
    if isinstance(value, bool) or value is None or isinstance(value, str | bytes):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return float(f"{number:.9g}")


def _first(value: object) -> object:
    return value[0] if isinstance(value, tuple | list) and value else value


def _text(value: object) -> str | None:
    """A clean line of text: no NUL, no control characters, no lone surrogates, at most ``_MAX_TEXT`` characters."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    value = value.split("\x00", 1)[0] or value.replace("\x00", "")
    value = value.encode("utf-8", "replace").decode("utf-8")
    value = "".join(char if char.isprintable() else " " for char in value)
    return " ".join(value.split())[:_MAX_TEXT] or None


def _some(values: dict[str, Any]) -> dict[str, object] | None:
    return {key: value for key, value in values.items() if value is not None} or None


def _quietly(read: Callable[[], Any]) -> Any:
    """``read()``, or None when the EXIF makes it raise: Pillow parses it lazily, so any access may."""
    try:
        return read()
    except Exception:  # see above: an absent value, not a failure
        return None
