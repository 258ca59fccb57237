"""The ``meta`` body: EXIF as cameras write it, and as broken tools do."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from PIL.TiffImagePlugin import IFDRational

from ingestd.worker.media.picture import open_picture
from ingestd.worker.media.picture_facts import exif_facts
from tests import pictures


def meta(data: bytes) -> dict[str, Any]:
    picture = open_picture(data)
    picture.load(None)
    body: dict[str, Any] = json.loads(msgspec.json.encode(picture.facts()))
    return body


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_what_a_camera_writes(format: str) -> None:
    """Date with its zone, camera, lens, place and orientation come out of every format that carries EXIF."""
    block = pictures.exif(
        orientation=6,
        taken="2021:07:04 12:30:05",
        offset="+02:00",
        make="Fujifilm\x00",
        model=" X-T4 ",
        lens="XF 23mm",
        gps=(-33.8568, 151.2153),
        altitude=-3.5,
    )
    assert meta(pictures.photo(format=format, exif=block)) == {
        "format": format,
        "width": 48,
        "height": 64,
        "orientation": 6,
        "taken_at": "2021-07-04T12:30:05+02:00",
        "camera": {"make": "Fujifilm", "model": "X-T4", "lens": "XF 23mm"},
        "gps": {"lat": -33.8568, "lon": 151.2153, "alt": -3.5},
    }


def test_no_exif_no_keys() -> None:
    """What is not known is absent, not null."""
    assert meta(pictures.photo()) == {"format": "JPEG", "width": 64, "height": 48, "orientation": 1}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({0x9003: "2021:07:04 12:30:05"}, "2021-07-04T12:30:05Z"),  # no zone: read as UTC
        ({0x9004: "2020:01:01 00:00:00", 0x0132: "2022:01:01 00:00:00"}, "2020-01-01T00:00:00Z"),
        ({0x9003: "    :  :     :  :  ", 0x0132: "2022:01:01 00:00:00"}, "2022-01-01T00:00:00Z"),  # a blank date
        ({0x9003: "0000:00:00 00:00:00"}, None),
        ({0x9003: "0001:01:01 00:00:00"}, None),
        ({0x9003: "2021:13:45 99:99:99"}, None),
        ({0x9003: b"2021:07:04 12:30:05\x00"}, "2021-07-04T12:30:05Z"),
        ({0x9003: "2021-07-04T12:30:05"}, "2021-07-04T12:30:05Z"),
        ({0x9003: "2021:07:04 12:30:05", 0x9011: "-09:30"}, "2021-07-04T12:30:05-09:30"),
        ({0x9003: "2021:07:04 12:30:05", 0x9011: "nonsense"}, "2021-07-04T12:30:05Z"),
        ({0x9003: "2021:07:04 12:30:05", 0x9011: "+99:99"}, "2021-07-04T12:30:05Z"),
        ({0x9003: "2021:07:04 12:30:05", 0x9291: "25"}, "2021-07-04T12:30:05.250000Z"),
        ({0x9003: 17}, None),
    ],
)
def test_dates(tags: dict[int, object], expected: str | None) -> None:
    """The moment of exposure, else of digitising, else of change; RFC 3339."""
    assert exif_facts(tags, {}).get("taken_at") == expected


NORTH_EAST = {1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"lat": 48.8582222, "lon": 2.2945}),
        ({1: "S", 3: b"W\x00"}, {"lat": -48.8582222, "lon": -2.2945}),
        ({6: IFDRational(352, 10)}, {"lat": 48.8582222, "lon": 2.2945, "alt": 35.2}),
        ({6: IFDRational(1, 0)}, {"lat": 48.8582222, "lon": 2.2945}),  # 1/0 is no height
        ({2: (float("nan"), 0.0, 0.0)}, None),
        ({2: (IFDRational(0, 0), 0.0, 0.0)}, None),
        ({2: (91.0, 0.0, 0.0)}, None),
        ({2: "48,51"}, None),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, None),  # what a receiver without a fix writes
        ({2: None}, None),
    ],
)
def test_places(change: dict[int, object], expected: dict[str, float] | None) -> None:
    """Degrees with sign, or nothing: NaN, infinity, 0/0 and out of range never come through."""
    assert exif_facts({}, {**NORTH_EAST, **change}).get("gps") == expected


def test_exposure_and_texts_are_clean() -> None:
    """Numbers are finite, texts have no control characters and an end."""
    facts = exif_facts(
        {
            0x829A: IFDRational(1, 250),
            0x829D: IFDRational(28, 10),
            0x8827: (400, 0),
            0x920A: float("inf"),
            0x010F: "A\x00\x01garbage after the end",
            0x0110: "x" * 5000,
            0xA434: b"\xff\xfe lens",
        },
        {},
    )
    assert facts["exposure"] == {"time_s": 0.004, "f_number": 2.8, "iso": 400.0}
    camera = facts["camera"]
    assert isinstance(camera, dict)
    assert (camera["make"], len(camera["model"]), "lens" in camera["lens"]) == ("A", 200, True)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as the worker has it
@pytest.mark.parametrize("cut", range(6, 150, 9))
def test_broken_exif_never_fails_an_item(cut: int) -> None:
    """A damaged block is as if it were absent, or partly so."""
    block = bytearray(pictures.exif(orientation=6, taken="2021:07:04 12:30:05", gps=(1, 2), make="Maker"))
    block[cut:] = b"\xff" * (len(block) - cut)
    body = meta(pictures.photo(exif=bytes(block)))
    assert body["format"] == "JPEG"
    assert {body["width"], body["height"]} == {64, 48}
