"""Events in, commands out: what ``decide`` and ``supervisor.loop`` say to each other. Plain data, no handles.

Nothing is dropped: an event without a rule and a command that nobody performs are defects, and end the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Never, NoReturn

import msgspec

from ingestd.policy.state import JobView
from ingestd.policy.states import JobEvent
from ingestd.protocol.work import Outcome, Stat
from ingestd.records import Claimed, Committed, KnownContent, Tally

# ------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class JobKnown:
    """A job was loaded, made, or changed by a request: replaces what the view had of its settings."""

    job: JobView


@dataclass(frozen=True, slots=True)
class JobRemoving:
    """A person removes a job that rests: nothing is started for it any more, its sinks end."""

    job: int


@dataclass(frozen=True, slots=True)
class JobForgotten:
    """A job was removed: nothing is left of it in the ledger."""

    job: int


@dataclass(frozen=True, slots=True)
class MoveRequested:
    """A person moves a job: pause, resume, stop, or more work for it."""

    job: int
    event: JobEvent
    actor: str


@dataclass(frozen=True, slots=True)
class Closing:
    """The daemon shuts down: jobs keep their status, everything that runs ends."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The probe has said what a job's models are, and the ledger has its steps."""

    job: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that the job needs comes to this machine: ``done`` of ``total`` bytes are here (0: not known)."""

    job: int
    model: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    """The probe is gone without an answer. ``kind``: ``ended`` where we told it to go, else the kind of its error."""

    job: int
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class DiskShort:
    """The disk cannot hold what is left of a job; ``reason`` is a sentence for people."""

    job: int
    reason: str


@dataclass(frozen=True, slots=True)
class SourceLost:
    """Files of a job could not be read, and a source of it does not answer; ``reason`` is a sentence for people."""

    job: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tallied:
    """A change was committed; ``tally`` is how the job stands after it. ``gone``: the worker that was given back."""

    job: int
    tally: Tally
    gone: int | None = None


@dataclass(frozen=True, slots=True)
class WalkEnded:
    """The walker is gone. ``counts``: what it was to find is found; ``trouble``: why a source is away.

    ``again``: another walk was asked for after this one had begun.
    """

    job: int
    counts: bool
    trouble: str
    tally: Tally
    again: bool = False


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker has loaded its models and takes items. ``model_batch``: the items of one forward pass, at most."""

    worker: int
    model_batch: int


@dataclass(frozen=True, slots=True)
class WorkerRefused:
    """Its lock keeps a worker from an item. What the next one may read is known: this one makes room for it."""

    worker: int


@dataclass(frozen=True, slots=True)
class ItemBegan:
    """A worker reads an item from now on: if it dies, the item may be why."""

    worker: int
    item: int


@dataclass(frozen=True, slots=True)
class ItemHashed:
    """A worker has read an item whole, and waits for a verdict on it."""

    worker: int
    item: int
    sha256: bytes
    stat: Stat


@dataclass(frozen=True, slots=True)
class ContentKnown:
    """What the ledger knows of a hash."""

    worker: int
    item: int
    known: KnownContent


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """Everything that came of an item in this pass."""

    worker: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Stored:
    """A commit is durable: outcomes by worker, new claims by worker."""

    job: int
    committed: dict[int, list[Committed]]
    claimed: dict[int, list[Claimed]]
    tally: Tally


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker process ended. ``clean``: it exited 0 on its own after Finish or Drain; ``kind`` and ``cause`` else."""

    worker: int
    clean: bool
    kind: str
    cause: str


@dataclass(frozen=True, slots=True)
class SinkDelivered:
    """Everything up to ``seq`` is durable in the sink, and the ledger has its cursor."""

    job: int
    sink: str
    seq: int


@dataclass(frozen=True, slots=True)
class SinkTrouble:
    """A sink cannot write at present, and says why; an empty ``message``: it can again."""

    job: int
    sink: str
    message: str


@dataclass(frozen=True, slots=True)
class SinkGone:
    """A sink's process ended. ``clean``: with exit code 0; ``kind`` and ``cause`` else."""

    job: int
    sink: str
    clean: bool
    kind: str
    cause: str


@dataclass(frozen=True, slots=True)
class SinkWanted:
    """Somebody searches: the sink's process is to live for some minutes."""

    job: int
    sink: str


Event = (
    Tick | JobKnown | JobRemoving | JobForgotten | MoveRequested | Closing | Resolved | Fetched | ProbeFailed
    | DiskShort | SourceLost | Tallied | WalkEnded | WorkerReady | WorkerRefused | ItemBegan | ItemHashed
    | ContentKnown | ItemOutcome | Stored | WorkerGone | SinkDelivered | SinkTrouble | SinkGone | SinkWanted
)  # fmt: skip

# ----------------------------------------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Store a job's status, which the view has already."""

    job: int
    status: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class StartProbe:
    """Begin to find out what a job's models are; ``Resolved`` or ``ProbeFailed`` comes."""

    job: int


@dataclass(frozen=True, slots=True)
class EndProbe:
    """End a job's probe at once."""

    job: int


@dataclass(frozen=True, slots=True)
class StartWalk:
    """Begin to list a job's sources; ``WalkEnded`` comes."""

    job: int


@dataclass(frozen=True, slots=True)
class AskSources:
    """Find out whether a job's sources answer; ``SourceLost`` comes where they do not."""

    job: int


@dataclass(frozen=True, slots=True)
class EndWalk:
    """Let a walk end; ``at_once`` for a walker that was asked and did not."""

    job: int
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Spawn:
    """Begin a batch in a new worker; ``alone``: it takes suspects, one at a time."""

    worker: int
    job: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Tell a worker something."""

    worker: int
    message: msgspec.Struct


@dataclass(frozen=True, slots=True)
class Kill:
    """End a worker at once; ``WorkerGone`` comes."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """Ask the ledger what it has for a hash; ``ContentKnown`` comes."""

    worker: int
    item: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """Part of ``StoreOutcomes``: at most ``limit`` new items for a worker."""

    worker: int
    limit: int
    alone: bool


@dataclass(frozen=True, slots=True)
class StoreOutcomes:
    """One transaction: these outcomes, then these claims; ``Stored`` comes."""

    job: int
    outcomes: tuple[tuple[int, Outcome], ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class GiveBack:
    """The rest of a window: ``lost`` if the worker died by itself, released if we ended it."""

    worker: int
    job: int
    lost: bool
    began: frozenset[int]
    kind: str
    cause: str
    given: int


@dataclass(frozen=True, slots=True)
class StartSink:
    """Start a sink's process with its stored cursor."""

    job: int
    sink: str


@dataclass(frozen=True, slots=True)
class WakeSink:
    """Tell a sink that the feed has grown to ``seq``."""

    job: int
    sink: str
    seq: int


@dataclass(frozen=True, slots=True)
class EndSink:
    """Let a sink's process end; ``at_once`` for one that was asked and did not, or that does not open."""

    job: int
    sink: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Awake:
    """Keep the machine awake, or let it sleep; ``reason``: why not any more, where that is no matter of course."""

    wanted: bool
    reason: str = ""


Command = (
    SetStatus | StartProbe | EndProbe | StartWalk | AskSources | EndWalk | Spawn | Send | Kill | Lookup
    | StoreOutcomes | GiveBack | StartSink | WakeSink | EndSink | Awake
)  # fmt: skip


def unhandled(message: Never) -> NoReturn:
    """The last case of a ``match`` over ``Event`` or ``Command``; the type checker proves that none is left for it.

    Raises ``TypeError`` that names the message.
    """
    raise TypeError(f"nobody handles {message!r}")
