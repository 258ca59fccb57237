"""Makes test images: valid ones of every format, with EXIF, and broken ones. Deterministic by ``seed``."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

FORMATS = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "AVIF": ".avif",
}
"""Every format that the core decodes, with its usual extension."""


def picture(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A smooth RGB picture; other seeds give other pictures."""
    coarse = Image.frombytes("RGB", (4, 3), random.Random(seed).randbytes(36))
    return coarse.resize(size, Image.Resampling.BILINEAR)


def encode(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """``image`` as a file's bytes."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def photo(seed: int = 0, size: tuple[int, int] = (64, 48), format: str = "JPEG", **options: Any) -> bytes:
    """A small valid file. For JPEG the seed also lies in a comment, so that no two seeds give the same bytes."""
    if format == "JPEG":
        options = {"comment": f"{seed}".encode(), **options}
    return encode(picture(seed, size), format, **options)


def write_photos(
    folder: Path, n: int, *, seed: int = 0, size: tuple[int, int] = (64, 48), name: str = "photo-{:05d}.jpg"
) -> list[Path]:
    """``n`` small distinct valid JPEGs in ``folder`` (made if absent); 2,000 take about a second.

    Number ``i`` of one seed has the same bytes in every call; other seeds give other bytes. ``name`` is formatted with
    the number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(n):
        path = folder / name.format(i)
        path.write_bytes(photo(seed * 1_000_003 + i, size, quality=70))
        paths.append(path)
    return paths


def write_all_formats(folder: Path, seed: int = 0) -> dict[str, Path]:
    """One valid file of each of ``FORMATS``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for format, suffix in FORMATS.items():
        paths[format] = folder / f"{format.lower()}{suffix}"
        paths[format].write_bytes(photo(seed, format=format))
    return paths


def exif(
    *,
    orientation: int | None = None,
    taken: str | None = None,
    offset: str | None = None,
    make: str | None = None,
    model: str | None = None,
    lens: str | None = None,
    gps: tuple[float, float] | None = None,
    altitude: float | None = None,
    extra: dict[int, Any] | None = None,
) -> bytes:
    """An EXIF block for ``photo(exif=…)``. ``taken`` as EXIF writes it ("2021:07:04 12:30:00"), ``gps`` (lat, lon)."""
    block = Image.Exif()
    for tag, value in ((0x0112, orientation), (0x010F, make), (0x0110, model), *(extra or {}).items()):
        if value is not None:
            block[tag] = value
    inner = block.get_ifd(0x8769)
    for tag, value in ((0x9003, taken), (0x9011, offset), (0xA434, lens)):
        if value is not None:
            inner[tag] = value
    if gps is not None:
        place = block.get_ifd(0x8825)
        place[1], place[2] = "N" if gps[0] >= 0 else "S", _sexagesimal(abs(gps[0]))
        place[3], place[4] = "E" if gps[1] >= 0 else "W", _sexagesimal(abs(gps[1]))
        if altitude is not None:
            place[5], place[6] = (b"\x01" if altitude < 0 else b"\x00"), IFDRational(round(abs(altitude) * 10), 10)
    return block.tobytes()


def _sexagesimal(degrees: float) -> Iterable[IFDRational]:
    whole = int(degrees)
    minutes = int((degrees - whole) * 60)
    seconds = (degrees - whole - minutes / 60) * 3600
    return (IFDRational(whole, 1), IFDRational(minutes, 1), IFDRational(round(seconds * 10_000), 10_000))


# ------------------------------------------------------------------------------------------------------------- broken


def truncated(seed: int = 0, keep: float = 0.5, size: tuple[int, int] = (640, 480), format: str = "JPEG") -> bytes:
    """A file whose header is whole and whose pixels end early."""
    data = photo(seed, size, format)
    return data[: int(len(data) * keep)]


def not_an_image(seed: int = 0) -> bytes:
    """Bytes that no image begins with."""
    return b"This is no picture at all, " + str(seed).encode() * 20


def bomb(format: str = "PNG", side: int = 60_000) -> bytes:
    """A small file whose header claims ``side`` × ``side`` pixels (PNG, GIF, BMP or JPEG)."""
    if format == "PNG":
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        )
    if format == "GIF":
        screen = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
        return screen + b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\x00;"
    if format == "BMP":
        data = bytearray(encode(picture(), "BMP"))
        data[18:26] = struct.pack("<ii", side, side)
        return bytes(data)
    if format == "JPEG":
        data = bytearray(photo())
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", side, side)
        return bytes(data)
    raise ValueError(format)
