"""Kinds of steps: each is declared once, here or by another package (entry point ``ingestd.steps``).

A declaration is data: the daemon holds it, asks by it and never runs anything of it. The code of a kind (``module``) is
loaded by a worker alone. A *step* of a job is an ask for a kind, under a name of its own: results, vectors and counts
go by that name, so one job may have two steps of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from ingestd.kinds.media import PICTURE, TEXT

API: Final = 1
"""Of the declarations and of what a worker calls. It is raised when an old declaration would no longer do."""

Cost = Literal["light", "moderate", "heavy"]
"""What a step costs an item, by order of magnitude on a small processor: up to some 100 ms, up to a second, seconds.
Steps of one class run in one pass, cheaper passes first: a search works long before the last description is there."""

COSTS: Final[tuple[Cost, ...]] = ("light", "moderate", "heavy")

NONE: Final = "none"
"""The model of a step that is not wanted."""

BUILTIN: Final = "builtin"
"""The model that ships with ingestd; light, whatever the kind of step."""

ON: Final = "on"
"""The model of a step that has no models to choose from and is wanted."""


class Setting(msgspec.Struct, frozen=True):
    """Something that decides a step's results, beside its model. ``--max-tokens`` is the flag of ``max_tokens``.

    ``low`` and ``high`` bound a number, or the characters of a text. ``metavar`` and ``help`` are for the command line.
    """

    name: str
    type: Literal["text", "int", "float", "switch"]
    help: str
    metavar: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def flag(self) -> str:
        """How it is given on the command line."""
        return flag_of(self.name)


class StepKind(msgspec.Struct, frozen=True):
    """One kind of step.

    ``takes`` says what is asked for: a ``model`` by its name, or nothing but that it runs (``switch``). ``default`` is
    that model where nothing is asked (``none``: the step is left out). ``needs`` are the kinds whose results it reads;
    ``media`` what it works on. ``scope``: it looks at one item, or at the whole ``job``. ``vector``: it makes vectors
    that queries can be held against; ``pictures``: by a picture too. ``module`` has the code, as ``package.module``
    with a ``PROVIDER`` (see ``worker.steps.base``); empty for what ships. ``secrets`` are the environment variables
    that its process needs, ``ports`` the TCP ports that it may connect to. ``package`` is the distribution it is from.
    """

    name: str
    help: str
    api: int
    takes: Literal["model", "switch"] = "model"
    metavar: str = "MODEL"
    default: str = NONE
    needs: tuple[str, ...] = ()
    media: tuple[str, ...] = (PICTURE,)
    scope: Literal["item", "job"] = "item"
    cost: Cost = "light"
    vector: bool = False
    pictures: bool = False
    settings: tuple[Setting, ...] = ()
    module: str = ""
    secrets: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    package: str = "ingestd"

    @property
    def flag(self) -> str:
        """How it is asked for on the command line."""
        return flag_of(self.name)


class StepAsk(msgspec.Struct, frozen=True):
    """A step as a person asks for it.

    ``kind`` is its name where nothing is said. ``model`` is as typed, empty where none was. ``needs`` are names of
    steps of the same job; empty means those of the kinds that this kind needs. ``settings`` has only what was given.
    """

    name: str
    kind: str = ""
    model: str = ""
    needs: tuple[str, ...] = ()
    settings: dict[str, str | int | float | bool] = {}

    def __post_init__(self) -> None:
        if not self.kind:
            msgspec.structs.force_setattr(self, "kind", self.name)


MAX_PROMPT: Final = 8000
"""Characters: a request is at most 64 KiB."""

EXACT: Final = Setting("exact", "switch", "full decoding and 32-bit arithmetic: slower")
"""Of every model that has a cheaper way of computing nearly the same."""

META: Final = StepKind(
    "meta",
    "what an item's file says of itself; part of every job",
    API,
    takes="switch",
    default=ON,
    media=(PICTURE, TEXT),
)

EMBED: Final = StepKind(
    "embed",
    "builtin, none, siglip2, clip, a hub id, or a folder (default: builtin)",
    API,
    default=BUILTIN,
    vector=True,
    pictures=True,
    settings=(EXACT,),
)

DESCRIBE: Final = StepKind(
    "describe",
    "builtin, none, smolvlm, smolvlm2:500m, a hub id, a folder, or openai:URL#model (default: builtin)",
    API,
    default=BUILTIN,
    cost="heavy",
    settings=(
        Setting("prompt", "text", "what the describing model is asked about each photo", "TEXT", 1, MAX_PROMPT),
        Setting("max_tokens", "int", "the longest description", "N", 1, 4096),
        Setting("temperature", "float", "0 says the likeliest; more, more freely (0 to 2)", "T", 0, 2),
        Setting("seed", "int", "where the dice of a temperature begin", "N", 0, 2**31 - 1),
        EXACT,
    ),
)

EMBED_TEXT: Final = StepKind(
    "embed_text",
    "make a vector of each description too: builtin, a hub id, or a folder (default: none)",
    API,
    needs=("describe",),
    vector=True,
    settings=(EXACT,),
)

SHIPPED: Final[Mapping[str, StepKind]] = {kind.name: kind for kind in (META, EMBED, DESCRIBE, EMBED_TEXT)}
"""What is there without any other package, in the order of a job's steps."""


def flag_of(name: str) -> str:
    """The flag of a kind or setting: ``embed_text`` is ``--embed-text``."""
    return "--" + name.replace("_", "-")


def cost_of(kind: StepKind, model: str) -> Cost:
    """The cost class of a kind with a model."""
    return "light" if model == BUILTIN else kind.cost
