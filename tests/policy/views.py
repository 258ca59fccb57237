"""Short words for views, so that a decision can be told in a table."""

from __future__ import annotations

from typing import Any

from ingestd.policy import decide as deciding, messages as w, plan as planning
from ingestd.policy.state import Flight, JobView, Now, SinkEnding, SinkOn, SinkStarting, View, WorkerView
from ingestd.protocol.work import Outcome, Stat
from ingestd.records import Tally

STAT = Stat(1, 1, 1, 1)
SHA = b"\x01" * 32
STARTING, ON, ENDING = SinkStarting(0.0, 0), SinkOn(0, 0.0), SinkEnding(0.0)


def tally(**counts: Any) -> Tally:
    zero = dict.fromkeys(
        ("pending", "running", "suspect", "done", "failed", "gone", "skipped", "reused", "feed_seq"), 0
    )
    return Tally(**(zero | {"committed": None, "last_done": None, "last_failed": None} | counts))


def job(ident: int = 1, status: Any = "running", **changes: Any) -> JobView:
    view = JobView(
        ident, f"uuid-{ident}", f"job{ident}", status, "", 0, batch_size=100, workers=1, cooldown_s=0.0, resolved=True,
        tally=tally(), sinks={},
    )  # fmt: skip
    for name, value in changes.items():
        setattr(view, name, value)
    return view


def view(*jobs: JobView) -> View:
    return View(jobs={one.id: one for one in jobs})


def working(window: int = 0, **changes: Any) -> tuple[View, WorkerView]:
    """A running job with one ready worker that has ``window`` items given."""
    v = view(job(tally=tally(pending=100, running=window), **changes))
    worker = WorkerView(1, 1, 0, alone=False, state="ready", given=window)
    worker.window = {item: Flight(item, 1) for item in range(1, window + 1)}
    v.workers[1] = worker
    v.next_worker = 2
    return v, worker


def kinds(commands: list[w.Command]) -> list[str]:
    return [type(command).__name__ for command in commands]


def at(seconds: float) -> Now:
    """That steady time, on some day in a zone that is not UTC."""
    return Now(seconds, 1_700_000_000_000 + round(seconds * 1000), 3600)


def decide_all(view: View, event: w.Event, now: float) -> list[w.Command]:
    """What is decided at a steady time."""
    return deciding.decide(view, event, at(now))


def decide(view: View, event: w.Event, now: float) -> list[w.Command]:
    """The same but for keeping the machine awake: that has tests of its own, in ``test_activity``."""
    return [command for command in decide_all(view, event, now) if not isinstance(command, w.Awake)]


def next_wake(view: View, now: float) -> float:
    """Seconds until time alone can change a decision."""
    return planning.next_wake(view, at(now))


def outcome(item: int) -> Outcome:
    return Outcome(item, STAT, SHA, "JPEG", 1, 1, [], [], {})
