"""What clients and the daemon say: one typed pair of structs per verb, in the envelope of ``rpc``.

A verb is found by its name everywhere: ``Pause`` here, ``handle_pause`` in the daemon, ``pause`` in the client.
Fields are only ever added. Paths travel as text with U+FFFD for what is not UTF-8; where that loses something,
``path_b64`` beside it holds the true bytes. Requests accept a plain string or ``{"b64": "…"}`` for a path.
Times are Unix seconds (float) unless the name says ``_ms``; durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ingestd.kinds.steps import StepAsk
from ingestd.protocol.pathtext import PathB64
from ingestd.protocol.status import (
    Counts as Counts,
    DaemonStatus as DaemonStatus,
    DiskEstimate as DiskEstimate,
    Eta as Eta,
    JobChange as JobChange,
    JobStatus as JobStatus,
    LastFailure as LastFailure,
    LastItem as LastItem,
    PowerRefusal as PowerRefusal,
    PowerStatus as PowerStatus,
    Reply as Reply,
    ScanStatus as ScanStatus,
    SinkStatus as SinkStatus,
    StepStatus as StepStatus,
    WorkerStatus as WorkerStatus,
)

PROTOCOL = 1
PAGE_ROWS = 500

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A number that every reader of JSON keeps, and the ledger too."""


class Params(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all parameters: an unknown field is an error, so that a typing mistake is not silently ignored."""


# ----------------------------------------------------------------------------------------------------------- verbs


class Hello(Params):
    protocol: int = PROTOCOL


class HelloReply(Reply):
    protocol: int
    version: str
    pid: int


class Start(Params):
    """Make a job of these sources, or find the job that they are and let it go on.

    ``sources`` are absolute paths; or ``list_file``, the absolute path of a file list spooled into the state folder
    (newline separated, NUL when its name ends in ``.nul``) with ``list_sha256``. A field left out (None) was not given
    by hand and is not compared with what a known job has. ``cooldown``: seconds as text, or ``auto``. ``sinks``:
    ``qdrant``, ``qdrant:URL``, ``jsonl`` or ``jsonl:/absolute/file``. ``describe``, ``embed`` and ``embed_text`` name
    models; a folder by its absolute path. ``steps`` asks for steps one by one, of any kind, beside these or instead of
    those of the same name; the model ``none`` leaves one out.
    """

    sources: list[str | PathB64] = []
    list_file: str | None = None
    list_sha256: str | None = None
    name: str | None = None
    describe: str | None = None
    embed: str | None = None
    batch_size: int | None = None
    cooldown: str | None = None
    workers: int | None = None
    limit: int | None = None
    include: list[str] | None = None
    exclude: list[str] | None = None
    sinks: list[str] | None = None
    actor: str = ""
    embed_text: str | None = None
    prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    exact: bool | None = None
    passes: int | None = None
    device: str | None = None
    concurrency: int | None = None
    steps: list[StepAsk] | None = None


class StartReply(Reply):
    """``outcome``: ``created``, ``resumed``, ``rescanning`` or ``running`` (it was already at it)."""

    outcome: str
    job: JobStatus
    notes: list[str]


class Status(Params):
    job: str | None = None


class StatusReply(Reply):
    """Without ``job``: every job, newest first (completed and stopped ones too)."""

    daemon: DaemonStatus
    jobs: list[JobStatus]


class Pause(Params):
    """Without ``job``: the one active job; several are an error that lists them. ``all``: every active job."""

    job: str | None = None
    all: bool = False
    actor: str = ""


class Resume(Params):
    job: str | None = None
    all: bool = False
    actor: str = ""


class Stop(Params):
    job: str | None = None
    all: bool = False
    actor: str = ""


class ChangeReply(Reply):
    """Sent when it has taken effect: after a pause or stop, no worker of the job lives."""

    jobs: list[JobChange]


class Wait(Params):
    """Answered when the job rests: completed, failed, stopped or paused. Without ``job``: the newest."""

    job: str | None = None


class WaitReply(Reply):
    job: JobStatus


class Summary(Params):
    job: str | None = None


class PhaseTimes(Reply):
    """Milliseconds per item in one phase; ``median`` and ``p99`` from a histogram of four buckets per octave."""

    n: int
    mean_ms: float
    median_ms: float
    p99_ms: float
    min_ms: float
    max_ms: float


class BatchTotals(Reply):
    """``peak_bytes`` is the largest worker's, ``cpu_s`` the sum of all workers'."""

    count: int
    died: int
    items: int
    load_ms_mean: float
    peak_bytes: int
    cpu_s: float


class SummaryReply(Reply):
    """``success_rate`` = done / (done + failed), None before the first; ``active_s`` = time that workers lived.

    ``odd`` counts descriptions that stayed odd and are kept: ``empty``, ``cut`` by the token limit, ``loop``.
    """

    job: JobStatus
    success_rate: float | None
    contents: int
    attempts: int
    active_s: float
    phases: dict[str, PhaseTimes]
    failures: dict[str, int]
    batches: BatchTotals
    odd: dict[str, int] = msgspec.field(default_factory=dict)


class Failed(Params):
    job: str | None = None
    kind: str | None = None
    after: Whole = 0
    limit: int = PAGE_ROWS


class FailedRow(Reply):
    """``step`` is a step's kind, or ``all``."""

    item: int
    path: str
    kind: str
    message: str
    stage: str
    step: str
    attempts: int
    at: float
    remedy: str
    detail: str
    path_b64: str | None = None


class FailedReply(Reply):
    """``next`` is the cursor for ``after``, None on the last page."""

    job: str
    total: int
    rows: list[FailedRow]
    next: int | None


class Show(Params):
    path: str | PathB64
    job: str | None = None


class ShownItem(Reply):
    """One item in one job. ``results`` maps a step's kind to its body; vectors are shown as their dimension."""

    job: str
    path: str
    state: str
    attempts: int
    size: int
    mtime: float
    sha256: str | None
    format: str | None
    width: int | None
    height: int | None
    results: dict[str, Any]
    failures: list[FailedRow]
    copies: list[str]
    copies_total: int
    path_b64: str | None = None


class ShowReply(Reply):
    items: list[ShownItem]


class Retry(Params):
    """Failed items become pending again, with every copy of their content; ``kind`` narrows, ``paths`` too."""

    job: str | None = None
    kind: str | None = None
    paths: list[str | PathB64] = []


class RetryReply(Reply):
    job: JobStatus
    retried: int


class Search(Params):
    """For ``text``, or for what looks like the image file ``like``.

    ``job`` narrows to one job; ``path`` to a folder; ``since``/``until``: RFC 3339 dates, compared with taken_at.
    """

    text: str = ""
    n: int = 10
    job: str | None = None
    path: str | PathB64 | None = None
    since: str | None = None
    until: str | None = None
    like: str | PathB64 | None = None


class SearchHit(Reply):
    """``score``: see ``SearchGroup.order``. ``paths`` holds at most 100, ``paths_total`` counts all."""

    score: float
    path: str
    description: str
    id: str
    paths: list[str]
    paths_total: int
    payload: dict[str, Any]
    path_b64: str | None = None


class SearchGroup(Reply):
    """Hits of jobs whose vectors come from the same encoders, best first. ``lag``: changes not yet searchable.

    ``order`` says what ``score`` is: ``cosine`` similarity, or the sum of a ``rank fusion`` of several vectors.
    """

    jobs: list[str]
    model: str
    hits: list[SearchHit]
    lag: int
    order: str = "cosine"


class SearchReply(Reply):
    groups: list[SearchGroup]
    notes: list[str]


class Remove(Params):
    """Forget a job that does not run: its rows, its stores under the state folder. Files of the user stay."""

    job: str


class RemoveReply(Reply):
    name: str
    uuid: str
    freed_items: int
    kept: list[str]


class Config(Params):
    pass


class ConfigRow(Reply):
    key: str
    value: str
    source: str


class ConfigReply(Reply):
    rows: list[ConfigRow]


class Logs(Params):
    pass


class LogsReply(Reply):
    """``path``: the log file, or in words how to read the journal that takes its place."""

    path: str


class Shutdown(Params):
    pass


class ShutdownReply(Reply):
    """Sent when every child is gone and the ledger is closed to work; the socket ends right after."""

    pid: int


class Subscribe(Params):
    """Stream ``{"method": "event", "params": Event}`` lines until the client goes; ``job`` narrows."""

    job: str | None = None


class SubscribeReply(Reply):
    jobs: list[JobStatus]


class Event(Reply):
    """``kind``: ``job`` (``job`` holds its new status), ``lagged`` (events were dropped; a snapshot follows)."""

    kind: str
    at: float
    job: JobStatus | None = None


VERBS: dict[str, tuple[type[Params], type[Reply]]] = {
    "hello": (Hello, HelloReply),
    "start": (Start, StartReply),
    "status": (Status, StatusReply),
    "pause": (Pause, ChangeReply),
    "resume": (Resume, ChangeReply),
    "stop": (Stop, ChangeReply),
    "wait": (Wait, WaitReply),
    "summary": (Summary, SummaryReply),
    "failed": (Failed, FailedReply),
    "show": (Show, ShowReply),
    "retry": (Retry, RetryReply),
    "search": (Search, SearchReply),
    "remove": (Remove, RemoveReply),
    "config": (Config, ConfigReply),
    "logs": (Logs, LogsReply),
    "shutdown": (Shutdown, ShutdownReply),
    "subscribe": (Subscribe, SubscribeReply),
}
