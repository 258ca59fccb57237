"""What the ledger's rows are as plain data: shared by those who decide and those who store. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ingestd.kinds.sinks import SinkSpec
from ingestd.policy.job_spec import JobSpec
from ingestd.policy.states import ItemState, JobStatus
from ingestd.protocol.work import Step, Work


class Claimed(NamedTuple):
    """One item of a window, as the worker is to be told; ``alone`` for a suspect."""

    work: Work
    alone: bool


class KnownContent(NamedTuple):
    """What the ledger has for a hash: masks of the job's steps with a result, and of those that failed before.

    ``bodies`` are its results (JSON) by step name, where another step of the job reads them.
    """

    done: int
    failed: int
    bodies: dict[str, str] = {}  # noqa: RUF012 (never written to)


class Recipe(NamedTuple):
    """A job's steps as commits need them: ids by bit, and passes by bit. ``read``: bit and name of
    the steps that others read."""

    ids: dict[int, int]
    passes: dict[int, int]
    read: tuple[tuple[int, str], ...] = ()

    @property
    def mask(self) -> int:
        return sum(1 << bit for bit in self.ids)

    def mask_of(self, pass_: int) -> int:
        """The steps of a pass."""
        return sum(1 << bit for bit, its_pass in self.passes.items() if its_pass == pass_)

    def pass_of(self, todo: int) -> int:
        """The lowest pass that ``todo`` needs; 0 when nothing is to be done."""
        return min((self.passes[bit] for bit in self.passes if todo >> bit & 1), default=0)

    @classmethod
    def of(cls, steps: Iterable[tuple[Step, int]]) -> Recipe:
        """From steps with their ids."""
        pairs = list(steps)
        needed = {name for step, _ in pairs for name in step.needs}
        read = tuple((step.bit, step.name) for step, _ in pairs if step.name in needed)
        return cls({step.bit: ident for step, ident in pairs}, {step.bit: step.pass_ for step, _ in pairs}, read)


class Committed(NamedTuple):
    """What a commit did to one item. ``state`` is None when the item had moved on without it."""

    item: int
    state: ItemState | None


class Tally(NamedTuple):
    """A job's counters. ``committed`` is Unix milliseconds, None before the first commit."""

    pending: int
    running: int
    suspect: int
    done: int
    failed: int
    gone: int
    skipped: int
    reused: int
    feed_seq: int
    committed: int | None
    last_done: int | None
    last_failed: int | None

    @property
    def found(self) -> int:
        """Items that are not gone."""
        return self.pending + self.running + self.suspect + self.done + self.failed

    @property
    def open(self) -> int:
        """Items on which something is left to do."""
        return self.pending + self.running + self.suspect


class RootRef(NamedTuple):
    """One source of a job: a root's id, and a file name where the source is one file of that folder."""

    id: int
    only: bytes | None = None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as the ledger has it. Times are Unix milliseconds."""

    id: int
    uuid: str
    name: str
    roots: tuple[RootRef, ...]
    spec: JobSpec
    resolved: bool
    sinks: tuple[SinkSpec, ...]
    status: JobStatus
    reason: str
    actor: str
    until: int | None
    priority: int
    created: int
    changed: int
    rescan: bool


class StepRow(NamedTuple):
    """One step of a job's recipe with its row id and its counts of items."""

    step: Step
    id: int
    done: int
    failed: int


class CursorRow(NamedTuple):
    seq: int
    token: str
