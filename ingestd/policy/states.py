"""The states of jobs and items and every legal move between them. Pure: no clock, no I/O.

Two rules hold everywhere: a move that is not a row here is ``IllegalMove``, a defect of the caller; and the ledger's
schema repeats the item table as a trigger, so that no code path can get round it. Diagrams in the documentation are
generated from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from ingestd.errors import IllegalMove

JobStatus = Literal["queued", "running", "paused", "waiting", "completed", "failed", "stopped"]
JobEvent = Literal["turn", "pause", "wait", "resume", "yield", "stop", "finish", "misconfigured", "more"]

JOB_MOVES: Final[Mapping[JobStatus, Mapping[JobEvent, JobStatus]]] = {
    "queued": {"turn": "running", "pause": "paused", "wait": "waiting", "stop": "stopped", "misconfigured": "failed"},
    "running": {
        "pause": "paused",
        "wait": "waiting",
        "yield": "queued",
        "stop": "stopped",
        "finish": "completed",
        "misconfigured": "failed",
    },
    "paused": {"resume": "queued", "stop": "stopped"},
    "waiting": {
        "turn": "running",
        "resume": "queued",
        "pause": "paused",
        "stop": "stopped",
        "finish": "completed",
        "misconfigured": "failed",
    },
    "completed": {"more": "queued"},
    "failed": {"more": "queued", "stop": "stopped"},
    "stopped": {},
}

ItemState = Literal["pending", "running", "suspect", "done", "failed", "gone"]
ItemEvent = Literal[
    "claim",
    "commit",  # every step of the recipe is committed
    "next_pass",  # this pass is committed, steps of a later one remain
    "fail",  # nothing is left to do and a step is bad
    "release",  # given back untouched
    "suspect",
    "retry",
    "edit",
    "vanish",
    "return",
]

ITEM_MOVES: Final[Mapping[ItemState, Mapping[ItemEvent, ItemState]]] = {
    "pending": {"claim": "running", "vanish": "gone", "edit": "pending"},
    "running": {
        "commit": "done",
        "fail": "failed",
        "next_pass": "pending",
        "release": "pending",
        "suspect": "suspect",
        "edit": "pending",
        "vanish": "gone",
    },
    "suspect": {"claim": "running", "fail": "failed", "edit": "pending", "vanish": "gone"},
    "done": {"edit": "pending", "vanish": "gone"},
    "failed": {"retry": "pending", "edit": "pending", "vanish": "gone"},
    "gone": {"return": "pending"},
}


def move_job(status: JobStatus, event: JobEvent) -> JobStatus:
    """The status after ``event``. Raises ``IllegalMove`` when the table has no such row."""
    try:
        return JOB_MOVES[status][event]
    except KeyError:
        raise IllegalMove(f"a job that is {status} has no move '{event}'") from None


def move_item(state: ItemState, event: ItemEvent) -> ItemState:
    """The state after ``event``. Raises ``IllegalMove`` when the table has no such row."""
    try:
        return ITEM_MOVES[state][event]
    except KeyError:
        raise IllegalMove(f"an item that is {state} has no move '{event}'") from None


MAX_DAEMON_DEATHS: Final = 3
"""An item in flight while the daemon or the machine died so often is tried alone: it may be the cause."""

MAX_SOLO_DEATHS: Final = 2
"""An item that killed a worker so often while alone in it is quarantined by name."""


class Lost(NamedTuple):
    """What becomes of an item whose worker is gone: its next state and the counts to store."""

    event: ItemEvent
    deaths: int
    solo_deaths: int


def after_worker_death(*, began: bool, alone: bool, deaths: int, solo_deaths: int) -> Lost:
    """A worker died by itself. Only an item that it had begun can be the cause; alone twice, it is."""
    if not began:
        return Lost("suspect" if alone else "release", deaths, solo_deaths)
    if not alone:
        return Lost("suspect", deaths, solo_deaths)
    if solo_deaths + 1 >= MAX_SOLO_DEATHS:
        return Lost("fail", deaths, solo_deaths + 1)
    return Lost("suspect", deaths, solo_deaths + 1)


def after_daemon_death(*, deaths: int, suspect: bool) -> Lost:
    """The daemon or the machine died with the item in flight."""
    event: ItemEvent = "suspect" if suspect or deaths + 1 >= MAX_DAEMON_DEATHS else "release"
    return Lost(event, deaths + 1, 0)


def after_release(*, suspect: bool) -> ItemEvent:
    """We ended the worker ourselves (pause, stop, shutdown): a suspect stays one, the rest go back."""
    return "suspect" if suspect else "release"
