"""Kinds of files by their names, unopened: what is an item, and under which word the rest is counted.

The right extension with the wrong bytes is the worker's to find (``unsupported``); a file without an image's
extension is never opened.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

IMAGE: Final = "image"

_IMAGES = ".jpg .jpeg .jpe .jfif .png .webp .gif .tif .tiff .bmp .dib .avif"
_HEIC = ".heic .heif .hif"
_RAW = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 "
    ".rwl .sr2 .srf .srw .x3f"
)
_VIDEOS = (
    ".3g2 .3gp .asf .avi .flv .insv .lrv .m2t .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf .ogv .qt .ts "
    ".vob .webm .wmv"
)
# What cameras, editors and photo services lay beside a picture and that describes it: never a picture itself.
_SIDECARS = ".aae .cos .dop .exif .json .lrprev .nfo .on1 .pp3 .srt .thm .txt .vrd .xmp"

_SYSTEM_NAMES: Final = frozenset(
    b"""
    thumbs.db ehthumbs.db ehthumbs_vista.db desktop.ini picasa.ini .picasa.ini .nomedia
    .ds_store .localized .apdisk .directory .volumeicon.icns .appledouble .documentrevisions-v100 .fseventsd
    .spotlight-v100 .temporaryitems .thumbnails .trash .trashes
    @eadir #recycle #snapshot @recycle @recently-snapshot $recycle.bin recycler lost+found
    """.split()
) | {b"icon\r", b"system volume information"}
_SYSTEM_PREFIXES: Final = (b"._", b".Trash-", b".nfs", b".fuse_hidden")


def is_system(name: bytes) -> bool:
    """Whether the operating system, a NAS or a card reader made this file or folder for itself."""
    return name.lower() in _SYSTEM_NAMES or name.startswith(_SYSTEM_PREFIXES)


@cache
def kinds() -> Mapping[bytes, str]:
    """Kind by lower-case extension with its dot. HEIC and RAW are images where their extras are installed."""
    heic = IMAGE if importlib.util.find_spec("pillow_heif") else "heic"
    raw = IMAGE if importlib.util.find_spec("rawpy") else "raw"
    groups = ((_IMAGES, IMAGE), (_HEIC, heic), (_RAW, raw), (_VIDEOS, "video"), (_SIDECARS, "sidecar"))
    return {extension.encode(): kind for words, kind in groups for extension in words.split()}


def classifier() -> Callable[[bytes], str]:
    """A function from a file's name to its kind: ``image``, or the word it is counted under when skipped."""
    table = kinds()

    def kind_of(name: bytes) -> str:
        kind = table.get(name[name.rfind(b".") :].lower())
        if kind is not None:
            return kind
        return "system" if is_system(name) else "other"

    return kind_of
