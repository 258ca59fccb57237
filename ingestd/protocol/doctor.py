"""What ``doctor`` finds, as it is printed (JSON), and what it asks of its own children, in frames as in ``work``.

Children look at what the daemon's process must not touch: models (a child of the worker room) and stores (one of the
sinks'). Each answers with a ``Looked`` for every thing that it was asked for, in any order, and exits.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ingestd.protocol.sink import SinkSetup
from ingestd.protocol.work import Fatal, Finish, Hello, Locked, Machine, Message

Level = Literal["ok", "warn", "fail"]
"""``fail``: something will break, or is broken. ``warn``: nothing breaks, and a person may want it otherwise."""


class Finding(msgspec.Struct, frozen=True):
    """One line: ``what`` was looked at, what was found there, and what to do about it (empty: nothing is to do)."""

    level: Level
    what: str
    finding: str
    remedy: str = ""


class ModelAsk(msgspec.Struct, array_like=True, frozen=True):
    """A model of a job. ``folder``, ``hub_id`` and ``revision`` are those of its resolved step, empty before that."""

    kind: str
    model: str
    machine: Machine
    exact: bool = False
    folder: str = ""
    hub_id: str = ""
    revision: str = ""


class LookAtModels(Message):
    """doctor → models looker: are these whole? Nothing is loaded, nothing is fetched; an endpoint is asked what it
    serves."""

    asks: list[ModelAsk]


class LookAtSinks(Message):
    """doctor → sinks looker: can these be reached and written? What is there is not changed. ``served``: a daemon runs,
    so stores may be held by its own children."""

    setups: list[SinkSetup]
    served: bool


class Looked(Message):
    """looker → doctor: how number ``index`` of what was asked for is.

    ``memory``: bytes that a model's weights, and working with them, take of the machine's memory; ``libraries``: what
    its libraries take in a process, once for all models of it.
    """

    index: int
    level: Level
    finding: str
    remedy: str = ""
    memory: int = 0
    libraries: int = 0


ToLooker = LookAtModels | LookAtSinks | Finish
FromLooker = Hello | Locked | Looked | Fatal
