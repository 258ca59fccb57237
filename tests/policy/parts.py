"""What a simulated machine is made of: files, and what a worker, a walk or a sink's process knows of itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from ingestd.protocol import work

Kind = Literal["good", "corrupt", "half", "unreadable", "poison"]
"""``corrupt`` fails at every step, ``half`` at one, ``poison`` ends whatever process runs the model on it."""

STEPS = [work.Step(0, "meta", "meta-1", {}), work.Step(0, "embed", "embed-1", {"dim": 2})]
DESCRIBE = work.Step(0, "describe", "describe-1", {})


@dataclass
class File:
    """``content`` stands for the bytes, ``version`` for the change time."""

    content: int
    kind: Kind
    version: int

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(f"{self.kind} {self.content}".encode()).digest()

    @property
    def stat(self) -> work.Stat:
        return work.Stat(10, self.version, self.version, 1)


@dataclass
class Entry:
    """An item in a simulated worker, as in ``worker.window``."""

    work: work.Work
    stage: Literal["queued", "reading", "asked", "held", "going"] = "queued"
    file: File | None = None
    steps: int = 0


@dataclass
class Worker:
    job: int
    ready: bool = False
    finishing: bool = False
    draining: bool = False
    items: dict[int, Entry] = field(default_factory=dict)


@dataclass
class Handle:
    job: int
    batch: int | None = None
    pass_: int = 0
    killed: bool = False


@dataclass
class Walk:
    scan: int = 0
    begun: bool = False
    interrupted: bool = False
    listed: bool = False
    limit: int | None = None


@dataclass
class SinkProcess:
    cursor: int
    end: int
    spoken: bool = False
    finishing: bool = False
