"""What a file is, by its first bytes: extensions lie, and a decoder is only tried on bytes of its own kind."""

from __future__ import annotations

from typing import Final

HEAD: Final = 64
"""Bytes that ``sniff`` looks at."""

RAW_SUFFIXES: Final = frozenset(
    b".3fr .arw .cr2 .cr3 .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .sr2 .srf "
    b".srw .x3f".split()
)

_HEIC_BRANDS: Final = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"))
_AVIF_BRANDS: Final = frozenset((b"avif", b"avis"))
_BMP_HEADERS: Final = frozenset((12, 16, 40, 52, 56, 64, 108, 124))
"""Sizes of the header that follows the file header in every BMP there is. ``BM`` alone also begins plain text."""

_RAW_MAGIC: Final = (b"FUJIFILMCCD-RAW", b"IIU\x00", b"IIRO", b"IIRS", b"MMOR", b"FOVb")


def sniff(head: bytes, suffix: bytes = b"") -> str | None:
    """The format that ``head`` (the first ``HEAD`` bytes) begins, or None when it is none that is read here.

    One of ``JPEG PNG WEBP GIF TIFF BMP AVIF HEIC RAW``. ``suffix`` (with its dot, any case) only tells RAW files apart
    from TIFF, which most of them begin as.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(_RAW_MAGIC):
        return "RAW"
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "RAW" if suffix.lower() in RAW_SUFFIXES or head[8:10] == b"CR" else "TIFF"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    return None


def _iso_media(head: bytes) -> str | None:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    if brands & _HEIC_BRANDS:
        return "HEIC"
    return "RAW" if head[8:12] == b"crx " else None


_OTHERS: Final = (
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x05\x16\x07", "a macOS resource fork (AppleDouble)"),
    (b"{", "text"),
)


def describe_bytes(head: bytes) -> str:
    """What unsupported bytes seem to be, for a message: "a PDF document", "only zero bytes", …"""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head.strip(b"\x00"):
        return "only zero bytes, as a crash or a failing disk leaves them"
    if head[4:8] == b"ftyp":
        return "an MP4 or QuickTime video"
    if head[:4] == b"RIFF":
        return "a RIFF file (sound or video)"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith((b"<svg", b"<?xml")):
        return "XML or SVG"
    for magic, words in _OTHERS:
        if head.startswith(magic):
            return words
    return "text" if head.isascii() and head.decode("ascii").isprintable() else "something unknown"
