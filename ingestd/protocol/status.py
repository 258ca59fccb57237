"""How a job stands, in the words that every client is told: the results that several verbs share."""

from __future__ import annotations

import msgspec


class Reply(msgspec.Struct):
    """Base of all results."""


class Counts(Reply):
    """Items by state. ``found`` = all but ``gone``; done = every step committed."""

    found: int
    skipped: int
    pending: int
    running: int
    suspect: int
    done: int
    failed: int
    gone: int


class StepStatus(Reply):
    """``name`` is what its results go by; of a job's first step of a kind it is that kind, as a rule."""

    kind: str
    model: str
    fingerprint: str
    done: int
    failed: int
    name: str = ""


class SinkStatus(Reply):
    """``lag`` = feed changes not yet delivered; ``state`` is ``idle``, ``delivering``, ``trouble`` or ``stopped``."""

    name: str
    kind: str
    place: str
    cursor: int
    lag: int
    state: str
    message: str


class WorkerStatus(Reply):
    """``items`` = given in this batch so far, ``window`` = given and not yet committed.

    ``locked``: what the process is held to, in a few words each; empty until it is, or with ``lockdown = "no"``.
    """

    pid: int
    batch: int
    state: str
    items: int
    window: int
    locked: list[str] = []


class ScanStatus(Reply):
    """``state``: ``none``, ``owed``, ``running``, ``complete``, ``limited``, ``partial`` (some folders had errors)."""

    state: str
    started: float | None
    ended: float | None
    found: int
    skipped: dict[str, int]
    errors: list[dict[str, str]]


class Eta(Reply):
    """Seconds until the last item, as a range: from the rate of a window without pause, sleep and model load."""

    low: float
    high: float


class DiskEstimate(Reply):
    """Bytes that a job had still to write when its first items were through, and bytes that were free then."""

    needed: int
    free: int


class LastItem(Reply):
    path: str
    at: float
    state: str
    path_b64: str | None = None


class LastFailure(Reply):
    path: str
    kind: str
    message: str
    at: float
    path_b64: str | None = None


class JobStatus(Reply):
    """Everything ``status`` shows of one job.

    ``phase`` is what happens now in words (``resolving models``, ``fetching …``, ``loading models``, ``working``,
    ``starting a worker``, ``cooling down``, ``scanning``, ``delivering``, or the status). ``reason`` says why nothing
    runs if nothing runs. ``percent`` is None until something is found; ``so_far`` is true until a scan has ended, when
    the total may still grow.
    """

    id: int
    uuid: str
    name: str
    status: str
    reason: str
    actor: str
    until: float | None
    phase: str
    sources: list[str]
    created: float
    changed: float
    counts: Counts
    reused: int
    percent: float | None
    so_far: bool
    rate_per_hour: float | None
    eta: Eta | None
    last_commit_age: float | None
    scan: ScanStatus
    steps: list[StepStatus]
    sinks: list[SinkStatus]
    workers: list[WorkerStatus]
    last_failure: LastFailure | None
    last_items: list[LastItem]
    limit: int | None
    batch_size: int
    cooldown: str
    disk: DiskEstimate | None = None


class PowerRefusal(Reply):
    """What the machine was asked for and did not grant, why, and what to do about it."""

    what: str
    why: str
    remedy: str


class PowerStatus(Reply):
    """Whether the machine is kept awake. ``wanted``: something is at work that it must stay awake for.

    ``held``: of ``sleep``, ``idle``, ``handle-lid-switch`` (``disk`` on macOS). ``method`` is ``systemd-inhibit``,
    ``caffeinate``, ``none`` (this machine has neither) or ``off`` (``awake = "no"``). ``lid``: what closing the lid
    does now. ``on_ac`` is None where that is not known, or is of no importance because there is no lid.
    """

    wanted: bool
    held: list[str]
    refused: list[PowerRefusal]
    method: str
    lid: str
    on_ac: bool | None


class JobChange(Reply):
    """What a control verb did: ``changed`` is false when the job already was so."""

    name: str
    uuid: str
    status: str
    changed: bool


class DaemonStatus(Reply):
    """``trouble``: why nothing can be stored at present (a full disk, say), or empty.

    ``power``: whether the machine is kept awake; None where no daemon runs. ``log_dropped``: log lines that are lost
    because the log's disk, journal or terminal stood still.
    """

    pid: int
    version: str
    started: float
    home: str
    log: str
    ledger_bytes: int
    memory_bytes: int
    trouble: str = ""
    power: PowerStatus | None = None
    log_dropped: int = 0
