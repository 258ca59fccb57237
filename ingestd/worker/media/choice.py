"""Which medium an item is, among those that a job's steps take."""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib import import_module

from ingestd.errors import Misconfigured
from ingestd.kinds.media import MODULES, PICTURE, TEXT, TEXT_SUFFIXES
from ingestd.worker.media.base import Content, Medium


def load_media(names: Collection[str]) -> dict[str, Medium]:
    """The media of these names, their libraries loaded. Raises ``Misconfigured`` for one that is not known."""
    unknown = sorted(set(names) - MODULES.keys())
    if unknown:
        raise Misconfigured(
            f"there is no medium {unknown[0]!r}", operation="load", object="the steps of a job",
            remedy=f"The media are {', '.join(MODULES)}; install the release that has this one",
        )  # fmt: skip
    return {name: import_module(MODULES[name]).MEDIUM for name in names}


def open_content(media: dict[str, Medium], data: bytes, path: bytes) -> tuple[str, Content]:
    """The medium's name and the opened content of an item. Raises ``ItemError``."""
    suffix = os.path.splitext(path)[1]
    name = next(iter(media))
    if len(media) > 1:
        name = TEXT if suffix.lower() in TEXT_SUFFIXES else PICTURE
    return name, media[name].open(data, suffix)
