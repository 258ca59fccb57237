"""What a model name means: an absolute folder, a short name with a size, or a hub id with a revision. Touches nothing
but the folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ingestd.errors import Misconfigured

WAYS: Final = "give a folder with --describe/--embed /path, an endpoint (openai:URL#model), or 'builtin'"
"""The ways on where a model cannot be had from the hub."""

MAIN: Final = "main"

_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LONGEST_ID: Final = 96
"""Characters of a hub id, as the hub itself limits them."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Known:
    """A model with a short name. ``about`` is its download in bytes where that is known, else None."""

    hub_id: str
    about: int | None = None


SHORT: Final[dict[str, dict[str, Known]]] = {
    "smolvlm": {
        "256m": Known("HuggingFaceTB/SmolVLM-256M-Instruct", 520_000_000),
        "500m": Known("HuggingFaceTB/SmolVLM-500M-Instruct", 1_020_000_000),
        "2.2b": Known("HuggingFaceTB/SmolVLM-Instruct", 4_500_000_000),
    },
    "smolvlm2": {
        "256m": Known("HuggingFaceTB/SmolVLM2-256M-Video-Instruct"),
        "500m": Known("HuggingFaceTB/SmolVLM2-500M-Video-Instruct"),
        "2.2b": Known("HuggingFaceTB/SmolVLM2-2.2B-Instruct"),
    },
    "siglip2": {
        "base": Known("google/siglip2-base-patch16-224", 1_500_000_000),
        "large": Known("google/siglip2-large-patch16-256"),
        "so400m": Known("google/siglip2-so400m-patch14-384"),
    },
    "siglip": {
        "base": Known("google/siglip-base-patch16-224", 820_000_000),
        "large": Known("google/siglip-large-patch16-256"),
        "so400m": Known("google/siglip-so400m-patch14-384", 3_520_000_000),
    },
    # OpenAI's own ViT-B/32 has pickled weights alone on its main branch.
    "clip": {
        "base": Known("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 610_000_000),
        "large": Known("openai/clip-vit-large-patch14", 1_710_000_000),
    },
    "minilm": {"l6": Known("sentence-transformers/all-MiniLM-L6-v2", 91_000_000)},
}
"""Short name → size → the model. The first size is what the name alone means: the one that a processor bears."""

KINDS: Final[dict[str, str]] = {
    "smolvlm": "describe",
    "smolvlm2": "describe",
    "siglip2": "embed",
    "siglip": "embed",
    "clip": "embed",
    "minilm": "embed_text",
}
"""Short name → the kind of step that its models answer."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model of the hub: ``typed`` as the person wrote it, ``revision`` a branch, tag, reference or commit."""

    typed: str
    hub_id: str
    revision: str = MAIN

    @property
    def is_commit(self) -> bool:
        return _COMMIT.fullmatch(self.revision) is not None


def read_name(model: str) -> Path | Wanted:
    """What ``model`` means; a folder exists. Raises ``Misconfigured`` in one sentence with what is known."""
    if os.path.isabs(model):
        if not os.path.isdir(model):
            raise _wrong(model, "there is no such folder", "Check the path, or name a model of the hub")
        return Path(model)
    if "/" in model:
        hub_id, _, revision = model.partition("@")
        if _ID.fullmatch(hub_id) is None or len(hub_id) > _LONGEST_ID or ".." in hub_id or "--" in hub_id:
            raise _wrong(
                model, "that is no hub id", "A hub id is ORGANISATION/NAME[@REVISION]; write ./ before a folder"
            )
        return Wanted(model, hub_id, revision or MAIN)
    name, colon, size = model.lower().partition(":")
    sizes = SHORT.get(name)
    if sizes is None:
        near = get_close_matches(name, [*SHORT, "builtin", "none"], 1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise _wrong(
            model,
            "there is no such model",
            f"{hint}Short names are {', '.join(short_names())}; else give a hub id (ORGANISATION/NAME), a folder "
            "(written ./folder or /folder), an endpoint (openai:URL#model), 'builtin' or 'none'",
        )
    if colon and size not in sizes:
        raise _wrong(model, f"{name} has no size {size!r}", f"Its sizes are {', '.join(sizes)}")
    return Wanted(model, sizes[size].hub_id if colon else next(iter(sizes.values())).hub_id)


def short_names() -> Iterable[str]:
    """Every short name with each of its sizes; the first size of a name stands without it."""
    for name, sizes in SHORT.items():
        for index, size in enumerate(sizes):
            yield f"{name}:{size}" if index else name


def known(short: str) -> Known:
    """The model behind one of ``short_names``."""
    name, _, size = short.partition(":")
    return SHORT[name][size] if size else next(iter(SHORT[name].values()))


def near_ids(hub_id: str, others: Iterable[str]) -> list[str]:
    """Hub ids that are nearly this one, of those that have a short name and of ``others``."""
    ids = {known(short).hub_id for short in short_names()} | set(others)
    by_lower = {one.lower(): one for one in ids if one != hub_id}
    return [by_lower[one] for one in get_close_matches(hub_id.lower(), by_lower, 3)]


def _wrong(model: str, message: str, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="find", object=f"the model {model!r}", remedy=remedy)
