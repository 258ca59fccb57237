"""What is said to the child that lists, fetches and removes models: msgpack frames, as in ``work``."""

from __future__ import annotations

from typing import Literal

import msgspec

from ingestd.protocol.work import Fatal, Fetching, Finish, Hello, Message


class ListModels(Message):
    """→ models child: say which models are on this machine, and which short names are not."""


class PullModel(Message):
    """→ models child: have this model. ``Planned`` and ``Fetching`` follow unless it is here, then ``Pulled``."""

    model: str


class ModelUse(msgspec.Struct, array_like=True, frozen=True):
    """A job of the ledger and the models of its recipe, as typed. ``active``: it has not ended."""

    job: str
    active: bool
    models: list[str]


class RemoveModel(Message):
    """→ models child: take this model off the machine. ``force``: although an active job uses it."""

    model: str
    uses: list[ModelUse]
    force: bool


class ModelRow(msgspec.Struct, array_like=True, frozen=True):
    """One model. ``kinds`` are the step kinds that it answers ([]: not known). Sizes in bytes, None where not known.

    ``state``: ``here`` (whole), ``partly`` (``size`` bytes of it; pull goes on), ``absent`` (``size`` is about what a
    pull would bring). ``revision`` is a commit.
    """

    name: str
    kinds: list[str]
    state: Literal["here", "partly", "absent"]
    size: int | None
    hub_id: str | None
    revision: str | None
    folder: str | None


class Models(Message):
    """models child →: the answer to ``ListModels``. ``cache`` is the folder that they are fetched into."""

    models: list[ModelRow]
    cache: str


class Planned(Message):
    """models child →: what a pull will bring. Bytes: ``total`` (0: not known), ``here`` of it already, ``free``."""

    model: str
    hub_id: str
    revision: str
    cache: str
    total: int
    here: int
    free: int


class Pulled(Message):
    """models child →: the model is here. ``fetched``: bytes that this pull brought, 0 when all was here before."""

    model: str
    hub_id: str | None
    revision: str | None
    folder: str | None
    fetched: int


class Removed(Message):
    """models child →: the model is gone. ``freed`` in bytes; ``notes`` are sentences about what follows from it."""

    model: str
    hub_id: str
    freed: int
    notes: list[str]


ToModels = ListModels | PullModel | RemoveModel | Finish
FromModels = Hello | Models | Planned | Fetching | Pulled | Removed | Fatal
