"""Decoding, in this process: formats, modes, orientation, alpha, limits, draft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image, ImageChops, ImageStat

from ingestd.errors import ItemError, Misconfigured
from ingestd.worker.media.picture import open_picture, to_rgb
from ingestd.worker.media.picture_formats import sniff
from tests import pictures


def decoded(data: bytes, want: int = 0, suffix: bytes = b"") -> Image.Image:
    picture = open_picture(data, suffix)
    picture.load(want)
    return picture.view(want)


def difference(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of two pictures of one size, of 255."""
    assert a.size == b.size
    assert a.mode == b.mode == "RGB"
    return sum(ImageStat.Stat(ImageChops.difference(a, b)).mean) / 3


@pytest.mark.parametrize("format", pictures.FORMATS)
def test_every_format_is_known_by_its_bytes(format: str) -> None:
    """The name and extension of a file play no part."""
    data = pictures.photo(1, format=format)
    assert sniff(data[:64], b".txt") == format
    picture = open_picture(data)
    picture.load(0)
    assert (picture.format, picture.width, picture.height) == (format, 64, 48)
    # GIF has 256 colours; the lossy formats differ a little.
    assert difference(picture.view(0), pictures.picture(1)) < (6 if format == "GIF" else 3)


ORIENTED = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
"""Where the first stored pixel is displayed, as (right, bottom); EXIF 2.32, tag 274."""


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_orientation_is_applied_once(format: str, orientation: int) -> None:
    """A red corner is displayed where the EXIF says; width and height are as displayed."""
    image = Image.new("RGB", (64, 32), "white")
    image.paste((255, 0, 0), (0, 0, 16, 16))
    picture = open_picture(pictures.encode(image, format, exif=pictures.exif(orientation=orientation)))
    picture.load(0)
    shown = picture.view(0)
    size = (32, 64) if orientation >= 5 else (64, 32)
    assert shown.size == size == (picture.width, picture.height)
    assert picture.orientation == orientation
    right, bottom = ORIENTED[orientation]
    corner = shown.getpixel((size[0] - 4 if right else 4, size[1] - 4 if bottom else 4))
    assert isinstance(corner, tuple)
    assert corner[0] > 200
    assert corner[1] < 60


def flat(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (8, 8), colour)


@pytest.mark.parametrize(
    ("image", "format", "expected"),
    [
        (flat("1", 1), "PNG", (255, 255, 255)),
        (flat("L", 128), "PNG", (128, 128, 128)),
        (flat("LA", (0, 128)), "PNG", (127, 127, 127)),  # half black over white
        (flat("RGBA", (255, 0, 0, 0)), "PNG", (255, 255, 255)),  # invisible red over white
        (flat("RGBA", (255, 0, 0, 255)), "WEBP", (255, 0, 0)),
        (flat("P", 0), "PNG", (0, 0, 0)),
        (flat("CMYK", (0, 255, 255, 0)), "JPEG", (255, 0, 0)),
        (flat("CMYK", (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (flat("I;16", 128 * 257), "PNG", (128, 128, 128)),
        (flat("I;16", 128 * 257), "TIFF", (128, 128, 128)),
        (flat("I", 128 * 257), "TIFF", (128, 128, 128)),
        (flat("I", 200), "TIFF", (200, 200, 200)),
        (flat("F", 0.5), "TIFF", (127, 127, 127)),
        (flat("F", 100.0), "TIFF", (100, 100, 100)),
        (flat("F", float("nan")), "TIFF", None),
        (flat("LAB", (255, 128, 128)), "TIFF", (255, 255, 255)),
        (flat("LAB", (136, 208, 195)), "TIFF", (250, 3, 11)),  # L* 53, a* 80, b* 67 is about sRGB's red
    ],
    ids=lambda value: getattr(value, "mode", None),
)
def test_every_mode_becomes_rgb(image: Image.Image, format: str, expected: tuple[int, int, int] | None) -> None:
    """16-bit, float, CMYK, palette and transparent pictures look as a viewer shows them."""
    pixel = decoded(pictures.encode(image, format)).getpixel((4, 4))
    assert isinstance(pixel, tuple)
    if expected is not None:
        assert all(abs(a - b) <= 2 for a, b in zip(pixel, expected, strict=True)), pixel


def test_transparent_palette_colours_become_white() -> None:
    """A GIF's transparent colour is a hole, not the colour that its palette happens to hold."""
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert decoded(pictures.encode(image, "GIF", transparency=1)).getpixel((4, 4)) == (255, 255, 255)
    key = Image.new("RGB", (8, 8), (1, 2, 3))
    assert decoded(pictures.encode(key, "PNG", transparency=(1, 2, 3))).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation(format: str) -> None:
    """Later frames are not looked at."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    data = pictures.encode(frames[0], format, save_all=True, append_images=frames[1:])
    pixel = decoded(data).getpixel((16, 16))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 240
    assert pixel[1] < 16


def test_a_big_jpeg_is_drafted_and_nearly_the_same() -> None:
    """With ``want`` the decode is at least twice that size, and the result after shrinking is that of the full one."""
    data = pictures.photo(5, (2400, 1800), quality=90)
    drafted, full = decoded(data, want=256), decoded(data)
    assert full.size == (2400, 1800)
    assert 512 <= min(drafted.size) < 1024
    small = [image.resize((341, 256), Image.Resampling.BICUBIC) for image in (drafted, full)]
    assert difference(*small) < 1


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_other_big_pictures_are_reduced_before_conversion(format: str) -> None:
    """The same size rule without a draft mode."""
    image = decoded(pictures.photo(5, (2400, 1800), format), want=256)
    assert 512 <= min(image.size) < 1024


def test_a_small_picture_is_not_enlarged() -> None:
    """``want`` is what the models can use, not what they get."""
    assert decoded(pictures.photo(), want=256).size == (64, 48)


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "JPEG"])
def test_a_header_bomb_costs_no_memory(format: str) -> None:
    """The pixel cap is checked before anything is decoded."""
    with pytest.raises(ItemError) as caught:
        open_picture(pictures.bomb(format))
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    ("suffix", "head"), [(b".DNG", b"II*\x00"), (b".nef", b"MM\x00*"), (b".x", b"FUJIFILMCCD-RAW ")]
)
def test_raw_without_the_extra_says_what_to_install(suffix: bytes, head: bytes) -> None:
    """A RAW file is not mistaken for the TIFF that it begins as."""
    with pytest.raises(ItemError) as caught:
        open_picture(head + bytes(100), suffix)
    assert caught.value.kind in ("unsupported", "corrupt")
    assert "RAW" in caught.value.message


def test_real_photographs_decode() -> None:
    """Pictures from cameras, not from this library."""
    folder = Path(skimage.data.__file__).parent
    for name in ("chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg"):
        assert min(decoded((folder / name).read_bytes(), want=256).size) >= 256


def test_rgb_is_passed_through_without_a_copy() -> None:
    """The common case costs nothing."""
    image = pictures.picture()
    assert to_rgb(image) is image


def test_a_decoder_that_is_not_whole_is_no_picture_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the installation ends the worker in words: as a failure it would stay with the content for ever."""

    def broken(*_: object, **__: object) -> None:
        raise ImportError("cannot import name '_imaging'")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(Misconfigured, match="_imaging"):
        open_picture(pictures.photo(1, (8, 8)), b".jpg")
