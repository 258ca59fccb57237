"""What the supervisor knows while it decides: job rows, items in flight and counts. No handle, no clock, no I/O.

A float called ``now``, or the time of anything in the view, is a steady time in seconds (see ``Now``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from ingestd.policy.states import JobStatus
from ingestd.protocol.work import Outcome, Stat
from ingestd.records import JobRow, Tally

WINDOW: Final = 32
"""Items given to a worker and not yet committed: what a kill may cost. Twice the model batch where that is more."""

WorkerState = Literal["starting", "ready", "finishing", "draining", "killed"]
FlightState = Literal["given", "begun", "checking", "held", "going", "settled"]


@dataclass(frozen=True, slots=True)
class Now:
    """The moment of one decision, by two clocks.

    ``steady``: seconds that only grow, and do not run while the machine sleeps: for waits and deadlines. ``wall_ms``:
    Unix milliseconds, which may jump: for what people are told. ``utc_offset_s``: seconds that local time is ahead of
    UTC at this moment: for hours of the day.
    """

    steady: float
    wall_ms: int
    utc_offset_s: int


@dataclass(slots=True)
class Flight:
    """An item of a window. ``settled``: its outcome is known and waits for its commit."""

    item: int
    todo: int
    state: FlightState = "given"
    sha256: bytes | None = None
    stat: Stat | None = None


@dataclass(slots=True)
class WorkerView:
    """One worker process. ``given`` counts the items of this batch; ``alone``: it takes suspects, one at a time.

    ``dry``: what is left to do belongs to another pass, so to another worker.
    """

    id: int
    job: int
    slot: int
    alone: bool
    state: WorkerState = "starting"
    model_batch: int = 1
    given: int = 0
    claiming: bool = False
    dry: bool = False
    window: dict[int, Flight] = field(default_factory=dict)
    since: float = 0.0

    @property
    def size(self) -> int:
        """How many items the window may hold."""
        return 1 if self.alone else max(WINDOW, 2 * self.model_batch)

    @property
    def unsettled(self) -> int:
        """Items that the worker still has something to do for."""
        return sum(flight.state != "settled" for flight in self.window.values())

    @property
    def began(self) -> frozenset[int]:
        """Items that may be the cause if the worker dies: being read, or past their verdict and in decode or model."""
        return frozenset(f.item for f in self.window.values() if f.state in ("begun", "going"))


@dataclass(frozen=True, slots=True)
class SinkOff:
    """No process. None is started before ``not_before``: the last one ended by itself."""

    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class SinkStarting:
    """Its process opens the place, since then; it was told that the feed ends at ``told``.

    ``killed``: it took too long and is being ended.
    """

    since: float
    told: int
    killed: bool = False


@dataclass(frozen=True, slots=True)
class SinkOn:
    """Its process delivers, or waits for more. ``idle_since``: when it last delivered."""

    told: int
    idle_since: float


@dataclass(frozen=True, slots=True)
class SinkEnding:
    """Its process was asked to end then. ``killed``: it took too long and is being ended."""

    since: float
    killed: bool = False


SinkState = SinkOff | SinkStarting | SinkOn | SinkEnding


@dataclass(slots=True)
class SinkView:
    """One sink of a job: how far it has got, and what its process does.

    ``message``: why it cannot deliver, empty when it can. ``failures`` in a row. ``used``: when it was last searched.
    ``dropped``: the job has it no more.
    """

    name: str
    cursor: int
    state: SinkState = SinkOff()
    message: str = ""
    failures: int = 0
    used: float = float("-inf")
    dropped: bool = False

    @property
    def is_off(self) -> bool:
        """Whether it has no process."""
        return isinstance(self.state, SinkOff)

    @property
    def is_on(self) -> bool:
        """Whether its place is open."""
        return isinstance(self.state, SinkOn)


class ModelFetch(NamedTuple):
    """A model that comes to this machine: ``done`` of ``total`` bytes are here (0: not known)."""

    model: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Probing:
    """A probe finds out what a job's models are. ``since``: when it began, or last fetched something."""

    since: float
    fetching: ModelFetch | None = None


@dataclass(frozen=True, slots=True)
class ProbeStopping:
    """A probe that was told to end, since when it was at work."""

    since: float


@dataclass(frozen=True, slots=True)
class Walking:
    """A walker lists a job's sources."""


@dataclass(frozen=True, slots=True)
class WalkStopping:
    """A walker that was asked to end then. ``killed``: it took too long and is being ended."""

    since: float
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Rescan:
    """A walk of a job's sources is still to be made, or to be made again, and not before ``not_before``.

    ``failures`` of walks in a row; ``trouble``: what the last one says of a source that is away.
    """

    not_before: float = 0.0
    failures: int = 0
    trouble: str = ""


@dataclass(slots=True)
class JobView:
    """One job: what was asked, how it stands, and what is under way for it.

    ``resolved``: its models are known. ``sources_asked``: when its sources were last asked whether they are there.
    ``deaths_in_row`` of workers and ``waits`` in a row, since an item was last committed. ``retry_at``: when a job
    that waits is tried again; None for one that waits for its sinks alone, and for every job that does not wait.
    ``slots``: until when the place of each worker that ended cools down.
    """

    id: int
    uuid: str
    name: str
    status: JobStatus
    reason: str
    priority: int
    batch_size: int
    workers: int
    cooldown_s: float
    resolved: bool
    tally: Tally
    sinks: dict[str, SinkView]
    rescan: Rescan | None = None
    probe: Probing | ProbeStopping | None = None
    walk: Walking | WalkStopping | None = None
    sources_asked: float = float("-inf")
    deaths_in_row: int = 0
    waits: int = 0
    retry_at: float | None = None
    removing: bool = False
    slots: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, row: JobRow, tally: Tally, resolved: bool, cursors: dict[str, int]) -> JobView:
        """From the ledger's row. What it waited for may be over by now, unless only a sink was left: it is tried."""
        waits = row.status == "waiting" and (row.rescan or tally.open > 0 or not resolved)
        return cls(
            row.id,
            row.uuid,
            row.name,
            row.status,
            row.reason,
            row.priority,
            row.spec.batch_size,
            row.spec.workers,
            row.spec.cooldown_s,
            resolved,
            tally,
            {name: SinkView(name, seq) for name, seq in cursors.items()},
            rescan=Rescan() if row.rescan else None,
            retry_at=0.0 if waits else None,
        )

    @property
    def fetching(self) -> ModelFetch | None:
        """What its probe is fetching, if it is."""
        return self.probe.fetching if isinstance(self.probe, Probing) else None

    @property
    def lagging(self) -> list[SinkView]:
        """Sinks that have not got everything yet."""
        return [sink for sink in self.sinks.values() if sink.cursor < self.tally.feed_seq and not sink.dropped]


@dataclass(slots=True)
class View:
    """Everything. ``buffer`` holds outcomes that wait for a commit: (worker, outcome), oldest first.

    ``owners`` maps a hash to the flight that is being computed for it, ``holders`` to those that wait for it. ``gone``
    has what workers that ended left behind, until the ledger has taken that back. ``stuck``: the ledger cannot be
    written. ``awake``: the machine was asked to stay awake; ``moved`` and ``busy_since`` are what ``activity`` goes by.
    """

    jobs: dict[int, JobView] = field(default_factory=dict)
    workers: dict[int, WorkerView] = field(default_factory=dict)
    buffer: list[tuple[int, Outcome]] = field(default_factory=list)
    buffered_since: float = 0.0
    owners: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    holders: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    gone: dict[int, list[Flight]] = field(default_factory=dict)
    next_worker: int = 1
    closing: bool = False
    stuck: bool = False
    awake: bool = False
    moved: float = float("-inf")
    busy_since: float | None = None

    def workers_of(self, job: int) -> list[WorkerView]:
        """The live workers of a job."""
        return [worker for worker in self.workers.values() if worker.job == job]

    def flight(self, worker: int, item: int) -> Flight | None:
        """An item in flight, or None when it is not (any more)."""
        found = self.workers.get(worker)
        return found.window.get(item) if found else None

    def sink(self, job: int, name: str) -> SinkView | None:
        """A sink of a job, or None when either is not known (any more)."""
        found = self.jobs.get(job)
        return found.sinks.get(name) if found else None

    def quiet(self, job: int) -> bool:
        """Whether nothing of the job computes: no worker, no walker, no probe, no outcome waiting."""
        view = self.jobs.get(job)
        if view is None:
            return True
        busy = view.walk or view.probe or self.workers_of(job)
        return not busy and all(self.workers[worker].job != job for worker, _ in self.buffer if worker in self.workers)
