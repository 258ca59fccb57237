"""What always holds in a ``World``, and what must be true when everything is over."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingestd.ledger import jobs
from ingestd.policy import messages as w, notices as n
from ingestd.policy.activity import AFTER_S, STALL_S
from ingestd.policy.plan import next_wake, plan
from ingestd.policy.state import WINDOW, SinkOn, SinkStarting, View

if TYPE_CHECKING:
    from tests.policy.world import World


def check(world: World) -> None:
    """The invariants of the view, after every event."""
    view = world.view
    assert sum(job.status == "running" for job in view.jobs.values()) <= 1
    for job in view.jobs.values():
        assert job.retry_at is None or job.status == "waiting", "it is to be tried again although it does not wait"
        assert job.rescan or not job.walk, "a walk is under way that is not wanted"
    places: Counter[int] = Counter()
    for worker in view.workers.values():
        assert len(worker.window) <= (1 if worker.alone else max(WINDOW, 2 * worker.model_batch))
        assert worker.given <= view.jobs[worker.job].batch_size or worker.given <= world.specs[worker.job].batch_size
        if worker.state in ("starting", "ready"):
            assert view.jobs[worker.job].status == "running", "a worker goes on although its job does not"
        places.update(worker.window.keys() - world.moved_in_flight)
        for flight in worker.window.values():
            if flight.state == "held":
                assert flight.sha256 in view.owners, "a flight is held and nobody will answer it"
                assert (worker.id, flight.item) in view.holders[flight.sha256]
    assert all(count == 1 for count in places.values()), "an item is in two windows"
    for sha256, (ident, item) in view.owners.items():
        flight = view.flight(ident, item)
        live = flight is not None and flight.sha256 == sha256
        left = any(found.item == item and found.sha256 == sha256 for found in view.gone.get(ident, []))
        assert live or left, "a hash has an owner that is gone: its copies would wait for ever"
    _check_awake(world)
    _check_time(world)


def _check_awake(world: World) -> None:
    """The machine stays awake for work, and for nothing else."""
    view = world.view
    working = any(worker.state != "killed" for worker in view.workers.values())
    alive = working or world.walks or world.probes
    told = world.mailbox or world.writer  # that something ended may be on its way
    running = any(job.status == "running" and job.tally.open for job in view.jobs.values())
    delivering = any(
        isinstance(sink.state, SinkStarting | SinkOn) for job in view.jobs.values() for sink in job.lagging
    )
    assert world.awake is view.awake
    assert not world.awake or alive or told or running or delivering, "it is kept awake and nothing is done"
    if working and not world.awake:
        assert view.busy_since is not None
        assert world.now - view.busy_since < AFTER_S or stalled(world), "it may fall asleep at work"


def stalled(world: World) -> bool:
    """Whether nothing has moved for so long that the machine may sleep at work."""
    since = world.view.busy_since
    rests = [at for job in world.view.jobs.values() for at in job.slots.values()]
    return since is not None and world.now - max(since, world.view.moved, *rests) >= STALL_S


def _check_time(world: World) -> None:
    """Deciding again changes nothing, and no moment before ``next_wake`` would decide otherwise."""
    wake = next_wake(world.view, world.at())
    assert 0 < wake <= 60.01
    # The loop sleeps at least 10 ms, so it may be late by that.
    for later in (0.0, wake / 2, wake - 0.002) if wake > 0.01 else (0.0,):
        commands = plan(twin(world.view), world.at(later))
        assert not commands, f"{later} s later, without any event: {commands}"


def check_notices(world: World, commands: Sequence[w.Command], told: Sequence[n.Notice]) -> None:
    """Every move is told once and truly, what has ended has nothing left, and a sink is away before it is back."""
    moves = [(c.job, c.status, c.reason, c.actor) for c in commands if isinstance(c, w.SetStatus)]
    assert [(m.job, m.status, m.reason, m.actor) for m in told if isinstance(m, n.JobMoved)] == moves
    changed = [notice.job for notice in told if isinstance(notice, n.JobChanged)]
    assert len(changed) == len(set(changed))
    assert {job for job, *_ in moves} <= set(changed)
    for notice in told:
        job = world.view.jobs[notice.job]
        assert (notice.at, notice.name, notice.uuid) == (world.at().wall_ms, job.name, job.uuid)
        match notice:
            case n.JobFinished(done=done, failed=failed):
                assert (job.tally.open, done, failed) == (0, job.tally.done, job.tally.failed)
            case n.SinkAway(sink=sink):
                assert (job.id, sink) not in world.sinks_away
                world.sinks_away.add((job.id, sink))
            case n.SinkBack(sink=sink):
                world.sinks_away.remove((job.id, sink))
    away = {(job.id, sink.name) for job in world.view.jobs.values() for sink in job.sinks.values() if sink.message}
    assert away == world.sinks_away


def check_end(world: World) -> None:
    """After every job was asked for once more: it is through, and each file is what it is."""
    check_rest(world)
    for job in world.view.jobs.values():
        if job.status == "completed":
            _check_items(world, job.id)


def check_rest(world: World) -> None:
    """After ``drive`` with nothing wrong: every job is through, and no promise is left open."""
    view = world.view
    assert not view.workers
    assert not view.buffer
    assert not view.owners
    assert not view.holders
    assert not view.gone
    assert not world.awake, "the machine is kept awake after the last job"
    for job in view.jobs.values():
        assert job.status in ("completed", "stopped"), (job.status, job.reason, job.tally)
        row = jobs.row(world.db, job.id)
        assert row.status == job.status, "the ledger does not say what the view says"
        assert job.tally == jobs.tally(world.db, job.id), "the view's counts are not the ledger's"
        if job.status == "completed":
            assert job.tally.open == 0
            assert not job.lagging
            assert not row.rescan


def _check_items(world: World, job: int) -> None:
    limit = world.specs[job].limit
    if limit is None:
        names = {
            bytes(name): (state, sha256)
            for name, state, sha256 in world.db.execute(
                "SELECT name, state, sha256 FROM item LEFT JOIN content ON content.id = content_id"
                " WHERE job_id = ? AND state <> 'gone'",
                (job,),
            )
        }
        assert names.keys() == world.files.keys()
        for name, file in world.files.items():
            state, sha256 = names[name]
            assert state == ("done" if file.kind == "good" else "failed"), (name, file, state)
            if file.kind == "good":
                assert sha256 == file.sha256


def twin(view: View) -> View:
    """A copy as deep as ``plan`` writes: a real deep copy takes a hundred times as long."""
    found = copy.copy(view)
    found.workers = {ident: copy.copy(worker) for ident, worker in view.workers.items()}
    found.jobs = {}
    for ident, job in view.jobs.items():
        found.jobs[ident] = copy.copy(job)
        found.jobs[ident].slots = dict(job.slots)
        found.jobs[ident].sinks = {name: copy.copy(sink) for name, sink in job.sinks.items()}
    return found
