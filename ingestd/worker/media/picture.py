"""From bytes to an upright RGB picture, or an ``ItemError`` that says why not.

Every exception and warning of the decoders is translated here. A file that ends early is a failure, never a picture
with a grey half.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, UnidentifiedImageError

from ingestd.errors import ItemError, Misconfigured
from ingestd.kinds.media import PICTURE
from ingestd.worker.media.base import Content, Medium
from ingestd.worker.media.picture_facts import facts
from ingestd.worker.media.picture_formats import HEAD, describe_bytes, sniff

MAX_PIXELS: Final = 250_000_000
"""The largest phone sensors make 200 megapixels. As RGB this is 750 MB, what a small machine can still hold once;
a header may claim 4 gigapixels in 30 bytes."""

DECODER_VERSION: Final = 1
"""Part of the fingerprint of every step that looks at pixels: raise it when the same bytes give other pixels."""

OVERSAMPLE: Final = 2
"""A JPEG is decoded at no less than this multiple of the size that the models want, then shrunk bicubically: twice
as fast on 12 megapixels, with a mean difference of 0.2 of 255 to the full decode."""

Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_PLUGINS: Final = {
    "JPEG": "JpegImagePlugin",
    "PNG": "PngImagePlugin",
    "GIF": "GifImagePlugin",
    "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin",
    "BMP": "BmpImagePlugin",
    "AVIF": "AvifImagePlugin",
}

_ORIENTATION: Final = 0x0112

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation (TIFF 6.0, tag 274) to what makes the picture upright; 1 needs nothing."""


@dataclass
class Picture(Content):
    """An image file whose header is read. ``width`` and ``height`` are as displayed once ``load`` has returned."""

    format: str
    width: int
    height: int
    image: Image.Image
    orientation: int = 1
    exif: Image.Exif | None = None

    def cost(self, want: int | None) -> int:
        """About how many pixels ``load`` will hold."""
        scale = self._scale(want)
        return (self.width // scale) * (self.height // scale)

    def load(self, want: int | None) -> None:
        """Decode the first frame, whole, and read the EXIF. Raises ``ItemError``. Called once.

        ``want`` is the length of the shorter side that will be asked of ``view``, 0 for full size, and None to decode
        at the cheapest scale only to know that the file is not damaged."""
        # Loading a TIFF takes its orientation away; loading a PNG may bring its EXIF, which can follow the pixels.
        if self.format != "PNG":
            self._read_exif()
        with translated(self.format):
            if want != 0:
                side = 1 if want is None else OVERSAMPLE * want
                width, height = self.image.size
                self.image.draft(None, (min(side, width), min(side, height)))
            self.image.load()
        if self.format == "PNG":
            self._read_exif()

    def view(self, want: int) -> Image.Image:
        """The picture upright, as RGB, alpha over white, its shorter side at least ``want`` pixels where it has them.

        ``want`` 0 means full size. Raises ``ItemError``.
        """
        with translated(self.format):
            image = self.image
            factor = min(image.size) // (OVERSAMPLE * want) if want else 1
            if factor > 1 and image.mode in ("RGB", "RGBA", "L", "LA", "CMYK"):
                image = image.reduce(factor)
            image = to_rgb(image)
            # Pillow turns TIFFs upright by itself when it loads them.
            if self.format != "TIFF" and self.orientation in _UPRIGHT:
                image = image.transpose(_UPRIGHT[self.orientation])
            return image

    def facts(self) -> dict[str, object]:
        """See ``picture_facts``."""
        return facts(self.format, self.width, self.height, self.orientation, self.exif)

    def _read_exif(self) -> None:
        try:
            self.exif = self.image.getexif()
            value = self.exif.get(_ORIENTATION)
        except Exception:  # broken EXIF never fails an item: it is as if there were none
            return
        if isinstance(value, int) and 1 <= value <= 8:
            self.orientation = value
        if self.orientation >= 5 and self.format != "TIFF":
            self.width, self.height = self.height, self.width

    def _scale(self, want: int | None) -> int:
        if self.format != "JPEG" or want == 0:
            return 1
        if want is None:
            return 8
        short = min(self.width, self.height) // (OVERSAMPLE * want)
        return next(scale for scale in (8, 4, 2, 1) if short >= scale or scale == 1)


class PictureMedium(Medium):
    """What ``open_picture`` reads."""

    name = PICTURE

    def open(self, data: bytes, suffix: bytes) -> Picture:
        """See ``open_picture``."""
        return open_picture(data, suffix)


def open_picture(data: bytes, suffix: bytes = b"") -> Picture:
    """Read the header of an image. Decodes no pixels.

    Raises ``ItemError``: ``empty``, ``unsupported`` (no format that is read here), ``corrupt``, ``too_large`` (over
    ``MAX_PIXELS``).
    """
    if not data:
        raise ItemError("empty", "the file has no bytes", stage="decode")
    head = data[:HEAD]
    kind = sniff(head, suffix)
    if kind is None:
        raise ItemError("unsupported", f"its bytes are {describe_bytes(head)}, not an image", stage="decode")
    with translated(kind):
        if kind == "RAW":
            data = _raw_preview(data)
        image = Image.open(io.BytesIO(data), formats=_pillow_names("JPEG" if kind == "RAW" else kind))
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise _too_many(width * height)
    return Picture(kind, width, height, image)


@contextmanager
def translated(kind: str) -> Iterator[None]:
    """Whatever a decoder raises or warns of as an error becomes an ``ItemError`` with stage ``decode``.

    Raises ``Misconfigured`` where it is the decoder that is not whole: no picture is to blame for that.
    """
    try:
        yield
    except (ItemError, MemoryError):
        raise
    except ImportError as error:
        raise Misconfigured(
            f"a part of it cannot be loaded: {error}", operation="decode pictures with", object="the installed Pillow",
            remedy="Install ingestd anew; if its files are all there, try lockdown = \"no\" in config.toml",
        ) from error  # fmt: skip
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ItemError(
            "too_large",
            f"its header claims more than {MAX_PIXELS // 1_000_000} megapixels",
            stage="decode",
            detail=str(error),
        ) from error
    except Exception as error:
        # Decoders raise nearly anything on hostile bytes: SyntaxError, struct.error, IndexError, ZeroDivisionError, …
        detail = f"{type(error).__name__}: {error}"[:500]
        if "MAX_TEXT" in detail:
            raise ItemError(
                "too_large", "its text chunks expand beyond all measure", stage="decode", detail=detail
            ) from error
        if isinstance(error, UnidentifiedImageError):
            message = f"it begins as {kind} but its header makes no sense"
        elif "truncated" in str(error).lower():
            message = f"the {kind} data end too early: the file is truncated"
        else:
            message = f"its {kind} data are damaged"
        raise ItemError("corrupt", message, stage="decode", detail=detail) from error


def be_strict() -> None:
    """Set the process's warning filters: a decompression bomb is an error, other remarks of Pillow are not shown."""
    warnings.filterwarnings("ignore", module=r"PIL\..*")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow as RGB of 8 bits: alpha over white, 16-bit and float grey scaled to what is seen."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _grey(image.convert("I"), 1 / 257)
    if image.mode == "I":
        _, top = _extrema(image)
        return _grey(image, 1 if top <= 255 else 1 / 257 if top <= 65535 else 255 / top)
    if image.mode == "F":
        low, top = _extrema(image)
        if low >= 0 and top <= 1:
            return _grey(image, 255)
        if low >= 0 and top <= 255:
            return _grey(image, 1)
        return _grey(image, 255 / (top - low) if top > low else 0, -low)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode in ("RGBa", "La"):
            image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
        layer = image.convert("RGBA")
        white = Image.new("RGB", layer.size, (255, 255, 255))
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return image.convert("RGB")


def _grey(image: Image.Image, scale: float, shift: float = 0) -> Image.Image:
    """``(value + shift) * scale``, clipped to 0…255, as RGB."""
    scaled = image.convert("F").point(lambda value: value * scale + shift * scale)
    return scaled.convert("L").convert("RGB")


def _extrema(image: Image.Image) -> tuple[float, float]:
    found: Any = image.getextrema()
    low, top = float(found[0]), float(found[1])
    return (low, top) if low == low and top == top else (0.0, 255.0)


def _pillow_names(kind: str) -> list[str]:
    if kind == "HEIC":
        try:
            import pillow_heif
        except ImportError:
            raise ItemError("unsupported", "HEIC needs an extra: pip install 'ingestd[heic]'", stage="decode") from None
        pillow_heif.register_heif_opener()
        return ["HEIF"]
    importlib.import_module(f"PIL.{_PLUGINS[kind]}")
    return [kind]


def _raw_preview(data: bytes) -> bytes:
    """The JPEG that a camera stores inside its RAW file."""
    try:
        import rawpy
    except ImportError:
        raise ItemError("unsupported", "RAW photos need an extra: pip install 'ingestd[raw]'", stage="decode") from None
    with rawpy.imread(io.BytesIO(data)) as raw:
        preview = raw.extract_thumb()
    if preview.format != rawpy.ThumbFormat.JPEG:
        raise ItemError("unsupported", "the RAW file holds no JPEG preview", stage="decode")
    return bytes(preview.data)


def _too_many(pixels: int) -> ItemError:
    return ItemError(
        "too_large",
        f"it has {pixels // 1_000_000} megapixels, the limit is {MAX_PIXELS // 1_000_000}",
        stage="decode",
    )


MEDIUM: Final = PictureMedium()
