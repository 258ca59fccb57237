"""Media: what the bytes of an item can be. A medium turns them into what steps work on, and into facts about them."""

from __future__ import annotations

from typing import Final

PICTURE: Final = "picture"
"""A photo or another image that a decoder of the worker reads."""

TEXT: Final = "text"
"""Text in UTF-8."""

MODULES: Final = {
    PICTURE: "ingestd.worker.media.picture",
    TEXT: "ingestd.worker.media.text",
}
"""Medium → the module of a worker that has it as ``MEDIUM``."""

TEXT_SUFFIXES: Final = frozenset((b".txt", b".md", b".text"))
"""Endings of files that are text where a job's steps take both; what else there is, is looked at as a picture."""
