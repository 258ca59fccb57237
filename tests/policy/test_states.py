"""The tables of states, and what becomes of an item whose worker or daemon died."""

from __future__ import annotations

import pytest

from ingestd.errors import IllegalMove
from ingestd.policy.states import (
    ITEM_MOVES,
    JOB_MOVES,
    MAX_DAEMON_DEATHS,
    MAX_SOLO_DEATHS,
    Lost,
    after_daemon_death,
    after_release,
    after_worker_death,
    move_item,
    move_job,
)


def reachable(table: dict[str, dict[str, str]], start: str) -> set[str]:
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state not in seen:
            seen.add(state)
            todo += table[state].values()
    return seen


def test_every_state_is_a_row_and_can_be_reached() -> None:
    """The tables are closed: each target has a row, and every state comes about."""
    assert reachable(JOB_MOVES, "queued") == set(JOB_MOVES)  # type: ignore[arg-type]
    assert reachable(ITEM_MOVES, "pending") == set(ITEM_MOVES)  # type: ignore[arg-type]


def test_from_every_state_work_can_end() -> None:
    """No item is stranded: from each state there is a way to ``done``; a job is over only when it was stopped."""
    for state in ITEM_MOVES:
        assert "done" in reachable(ITEM_MOVES, state)  # type: ignore[arg-type]
    for status in JOB_MOVES:
        assert status == "stopped" or "completed" in reachable(JOB_MOVES, status)  # type: ignore[arg-type]


def test_stopped_is_final() -> None:
    """Whatever is asked of a stopped job, it stays stopped."""
    assert JOB_MOVES["stopped"] == {}


def test_a_missing_row_is_the_error() -> None:
    """One error type, with state and event in it."""
    with pytest.raises(IllegalMove, match=r"completed.*pause"):
        move_job("completed", "pause")
    with pytest.raises(IllegalMove, match=r"done.*claim"):
        move_item("done", "claim")
    assert move_job("running", "pause") == "paused"
    assert move_item("running", "commit") == "done"


def test_whoever_may_lose_an_item_has_its_move() -> None:
    """Every decision below is a legal move of a running item."""
    events = {after_release(suspect=flag) for flag in (True, False)}
    for began in (True, False):
        for alone in (True, False):
            for solo in range(3):
                events.add(after_worker_death(began=began, alone=alone, deaths=0, solo_deaths=solo).event)
    for deaths in range(5):
        events |= {after_daemon_death(deaths=deaths, suspect=flag).event for flag in (True, False)}
    assert events == {"release", "suspect", "fail"}
    assert events <= set(ITEM_MOVES["running"])


@pytest.mark.parametrize(
    ("began", "alone", "solo", "lost"),
    [
        (False, False, 0, Lost("release", 2, 0)),  # it had not been touched: it cannot be the cause
        (True, False, 0, Lost("suspect", 2, 0)),  # it may be, beside others
        (False, True, 1, Lost("suspect", 2, 1)),  # the worker died while it loaded: nothing is proved
        (True, True, 0, Lost("suspect", 2, 1)),  # once alone may be an accident
        (True, True, 1, Lost("fail", 2, 2)),  # twice alone is the cause
    ],
)
def test_after_a_worker_death(began: bool, alone: bool, solo: int, lost: Lost) -> None:
    """A worker's death counts against an item only while it was alone in it; the daemon's deaths are counted apart."""
    assert after_worker_death(began=began, alone=alone, deaths=2, solo_deaths=solo) == lost


@pytest.mark.parametrize(
    ("deaths", "suspect", "event"),
    [(0, False, "release"), (1, False, "release"), (2, False, "suspect"), (0, True, "suspect")],
)
def test_after_a_daemon_death(deaths: int, suspect: bool, event: str) -> None:
    """Twice is an accident, the third time it is tried alone; a suspect stays one."""
    assert after_daemon_death(deaths=deaths, suspect=suspect)[:2] == (event, deaths + 1)


def test_the_limits() -> None:
    """As the design fixes them."""
    assert (MAX_DAEMON_DEATHS, MAX_SOLO_DEATHS) == (3, 2)
