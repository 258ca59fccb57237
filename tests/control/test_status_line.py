"""The daemon's line in ``systemctl status``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingestd.control.status_line import status_line
from ingestd.policy.pace import Pace
from ingestd.policy.state import JobView, View, Walking, WorkerView
from ingestd.records import Tally
from ingestd.supervisor.loop import Supervisor

EMPTY = Tally(0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None)


def job(name: str, status: Any, tally: Tally = EMPTY, **fields: Any) -> JobView:
    number = sum(map(ord, name))
    sinks: dict[str, Any] = {}
    return JobView(number, f"uuid-{number}", name, status, "", 0, 100, 1, 0.0, True, tally, sinks, **fields)


def line(*jobs: JobView, rate: float = 0, trouble: str = "") -> str:
    pace = Pace()
    if rate:
        pace.samples.append((1.0, 1000 / rate, 1000))
    view = View(jobs={one.id: one for one in jobs})
    if any(one.status == "running" for one in jobs):
        (first, *_) = [one for one in jobs if one.status == "running"]
        view.workers[1] = WorkerView(1, first.id, 0, False, state="ready")
    known = SimpleNamespace(view=view, paces={one.id: pace for one in jobs}, ledger=SimpleNamespace(trouble=trouble))
    return status_line(cast(Supervisor, known))


BUSY = EMPTY._replace(pending=18_766, done=1_230, failed=4)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (line(), "idle: no job yet"),
        (line(job("a", "completed")), "idle: 1 job"),
        (line(job("a", "completed"), job("b", "paused"), job("c", "stopped")), "idle: 3 jobs, 1 paused"),
        (line(job("holidays", "running", BUSY), rate=3.14), "holidays: 1,234 of 20,000, 4 failed, 3.1/s, working"),
        (line(job("holidays", "running", BUSY), rate=0.05), "holidays: 1,234 of 20,000, 4 failed, 3.0/min, working"),
        (line(job("new", "running", walk=Walking())), "new: scanning"),
        (line(job("new", "queued")), "new: queued"),
        (
            line(job("z", "queued"), job("x", "waiting"), job("holidays", "running", BUSY)),
            "holidays: 1,234 of 20,000, 4 failed, working (and 2 more)",
        ),
        (
            line(job("nas", "waiting"), trouble="the ledger cannot be written: full"),
            "waiting: the ledger cannot be written: full",
        ),
    ],
)
def test_the_line(told: str, expected: str) -> None:
    """It shows the running job with its numbers and phase; else it says why nothing runs."""
    assert told == expected


def test_a_wait_says_its_reason() -> None:
    """A waiting job's reason is shown as ``status`` shows it."""
    waiting = job("nas", "waiting", BUSY, retry_at=5.0)
    waiting.reason = "source offline: /nas"
    assert line(waiting) == "nas: 1,234 of 20,000, 4 failed, waiting: source offline: /nas"
