"""What each event changes in the view, and what follows from it. Pure: ``now`` is passed in, commands are returned.

``decide`` first applies the event, then lets ``plan`` look at the whole view for what is missing (a worker, a walk, a
commit). So most events only change a fact, and every situation that leads to the same facts leads to the same commands.
"""

from __future__ import annotations

from typing import Final

from ingestd.jobs import JOB_MOVES, JobEvent, move_job
from ingestd.protocol.work import Outcome, Verdict
from ingestd.supervisor import words as w
from ingestd.supervisor.plan import plan
from ingestd.supervisor.view import Flight, JobView, View

DEATHS_TOLERATED: Final = 5
"""Worker deaths in a row without one committed item: more is no accident, the job waits and says so."""

SOURCE_RETRY_S: Final = 30.0
SLOWEST_RETRY_S: Final = 600.0
SINK_RESTARTS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


def decide(view: View, event: w.Event, now: float) -> list[w.Command]:
    """Apply ``event`` to ``view``; return what is to be done, in order."""
    commands: list[w.Command] = []
    match event:
        case w.Tick():
            pass
        case w.JobKnown(job):
            _job_known(view, job)
        case w.JobRemoving(job_id):
            view.jobs[job_id].removing = True
        case w.JobForgotten(job_id):
            view.jobs.pop(job_id, None)
        case w.Asked(job_id, job_event, actor):
            commands += _asked(view.jobs[job_id], job_event, actor)
        case w.Closing():
            view.closing = True
        case w.Resolved(job_id):
            view.jobs[job_id].resolved = True
            view.jobs[job_id].probing = False
        case w.ProbeFailed(job_id, kind, reason):
            view.jobs[job_id].probing = False
            if kind != "ended":  # we ended it ourselves, for a pause
                commands += _fault(view.jobs[job_id], kind, reason, now)
        case w.Tallied(job_id, tally):
            if found := view.jobs.get(job_id):
                found.tally = tally
        case w.WalkEnded():
            _walk_ended(view, event, now)
        case w.WorkerReady(worker_id, model_batch):
            if (worker := view.workers.get(worker_id)) and worker.state == "starting":
                worker.state, worker.model_batch = "ready", max(1, model_batch)
        case w.ItemBegan(worker_id, item):
            if (flight := view.flight(worker_id, item)) and flight.state == "given":
                flight.state = "begun"
        case w.ItemHashed():
            commands += _hashed(view, event)
        case w.Looked():
            commands += _looked(view, event, now)
        case w.ItemOutcome(worker_id, outcome):
            if flight := view.flight(worker_id, outcome.item):
                _settle(view, worker_id, flight, outcome, now)
        case w.Stored():
            commands += _stored(view, event, now)
        case w.WorkerGone():
            commands += _worker_gone(view, event, now)
        case w.SinkDelivered(job_id, name, seq):
            if sink := view.sink(job_id, name):
                sink.cursor, sink.failures, sink.idle_since, sink.message = seq, 0, now, ""
                sink.state = "on" if sink.state == "starting" else sink.state
        case w.SinkTrouble(job_id, name, message):
            if sink := view.sink(job_id, name):
                sink.message = message
        case w.SinkGone():
            commands += _sink_gone(view, event, now)
        case w.SinkWanted(job_id, name):
            if sink := view.sink(job_id, name):
                sink.used = now
    return commands + plan(view, now)


def _job_known(view: View, job: JobView) -> None:
    old = view.jobs.get(job.id)
    if old is not None:  # settings are replaced, what is under way is kept
        job.probing, job.walking, job.stopping_walk, job.slots = old.probing, old.walking, old.stopping_walk, old.slots
        job.sinks = {name: old.sinks.get(name, sink) for name, sink in job.sinks.items()}
    view.jobs[job.id] = job


def moved(job: JobView, event: JobEvent, reason: str, actor: str = "") -> w.SetStatus:
    """Move a job by the table and say so."""
    job.status = move_job(job.status, event)
    job.reason = reason
    return w.SetStatus(job.id, job.status, reason, actor)


def _asked(job: JobView, event: JobEvent, actor: str) -> list[w.Command]:
    if event not in JOB_MOVES[job.status]:
        return []  # repeating a command, or one that does not apply any more, changes nothing
    if event in ("resume", "more"):
        job.deaths_in_row = job.waits = 0
        job.retry_at, job.walk_not_before, job.source_trouble = None, 0.0, ""
    return [moved(job, event, "", actor)]


def _fault(job: JobView, kind: str, reason: str, now: float) -> list[w.Command]:
    """Something that the job needs is wrong: for good (``misconfigured``) or for a while."""
    event: JobEvent = "misconfigured" if kind == "misconfigured" else "wait"
    if event not in JOB_MOVES[job.status]:
        return []
    if event == "wait":
        job.waits += 1
        job.retry_at = now + min(SLOWEST_RETRY_S, SOURCE_RETRY_S * 2 ** (job.waits - 1))
    return [moved(job, event, reason)]


def _walk_ended(view: View, event: w.WalkEnded, now: float) -> None:
    job = view.jobs.get(event.job)
    if job is None:
        return
    job.walking = job.stopping_walk = False
    job.tally = event.tally
    job.source_trouble = event.trouble
    if event.paid:
        job.rescan, job.walk_failures = False, 0
    else:
        job.walk_failures += 1
        job.walk_not_before = now + (SOURCE_RETRY_S if event.trouble else min(60.0, 0.5 * 2**job.walk_failures))


def _hashed(view: View, event: w.ItemHashed) -> list[w.Command]:
    flight = view.flight(event.worker, event.item)
    if flight is None:
        return []
    flight.sha256, flight.stat = event.sha256, event.stat
    return [_check(view, event.worker, flight, event.sha256)]


def _check(view: View, worker: int, flight: Flight, sha256: bytes) -> w.Command:
    """The first flight with a hash owns it until its commit; others hold, so that copies in one window run once."""
    owner = view.owners.setdefault(sha256, (worker, flight.item))
    if owner == (worker, flight.item):
        flight.state = "checking"
        return w.Lookup(worker, flight.item, sha256)
    flight.state = "held"
    view.holders.setdefault(sha256, []).append((worker, flight.item))
    return w.Send(worker, Verdict(flight.item, "hold"))


def _looked(view: View, event: w.Looked, now: float) -> list[w.Command]:
    flight = view.flight(event.worker, event.item)
    if flight is None or flight.state != "checking" or flight.sha256 is None:
        return []
    answered = event.known.done | event.known.failed
    left = flight.todo & ~answered
    if left:
        flight.state = "going"
        return [w.Send(event.worker, Verdict(event.item, "go", left))]
    commands = [_reuse(view, event.worker, flight, now)]
    waiting = view.holders.pop(flight.sha256, [])
    for worker, item in waiting:
        held = view.flight(worker, item)
        if held is None:
            continue
        if held.todo & ~answered:
            view.holders.setdefault(flight.sha256, []).append((worker, item))
        else:
            commands.append(_reuse(view, worker, held, now))
    return commands


def _reuse(view: View, worker: int, flight: Flight, now: float) -> w.Command:
    """Everything that the item needs is known for its content: commit that, and let the worker forget it."""
    outcome = Outcome(flight.item, flight.stat, flight.sha256, None, None, None, [], [], {})
    _settle(view, worker, flight, outcome, now)
    return w.Send(worker, Verdict(flight.item, "drop"))


def _settle(view: View, worker: int, flight: Flight, outcome: Outcome, now: float) -> None:
    if flight.state == "settled":
        return
    flight.state = "settled"
    if not view.buffer:
        view.buffered_since = now
    view.buffer.append((worker, outcome))


def _stored(view: View, event: w.Stored, now: float) -> list[w.Command]:
    commands: list[w.Command] = []
    job = view.jobs[event.job]
    job.tally = event.tally
    for worker_id, done in event.committed.items():
        if done:
            job.deaths_in_row = job.waits = 0
        worker = view.workers.get(worker_id)
        for item in done:
            flight = worker.window.pop(item.item, None) if worker else None
            if flight is not None and flight.sha256 is not None:
                commands += _disown(view, worker_id, flight)
    for worker_id, claims in event.claimed.items():
        worker = view.workers.get(worker_id)
        if worker is None:
            continue  # it died while the claim was under way; GiveBack follows the claim and takes the items back
        worker.claiming = False
        for claimed in claims:
            work = claimed.work
            worker.window[work.item] = Flight(work.item, work.todo)
            worker.given += 1
            if worker.state == "ready":
                commands.append(w.Send(worker_id, work))
    return commands


def _disown(view: View, worker: int, flight: Flight) -> list[w.Command]:
    """A hash is free again: the first that held for it asks the ledger anew."""
    sha256 = flight.sha256
    if sha256 is None or view.owners.get(sha256) != (worker, flight.item):
        return []
    del view.owners[sha256]
    commands: list[w.Command] = []
    waiting = view.holders.pop(sha256, [])
    for holder, item in waiting:
        if held := view.flight(holder, item):
            if sha256 in view.owners:
                view.holders.setdefault(sha256, []).append((holder, item))
            else:
                commands.append(_check(view, holder, held, sha256))
    return commands


def _worker_gone(view: View, event: w.WorkerGone, now: float) -> list[w.Command]:
    worker = view.workers.get(event.worker)
    if worker is None:
        return []
    job = view.jobs[worker.job]
    ours = worker.state in ("killed", "draining", "finishing") and (event.clean or worker.state == "killed")
    lost = not (event.clean or ours)
    mine = tuple(pair for pair in view.buffer if pair[0] == worker.id)
    view.buffer = [pair for pair in view.buffer if pair[0] != worker.id]
    commands: list[w.Command] = [w.Store(job.id, mine, ())] if mine else []
    commands.append(w.GiveBack(worker.id, job.id, lost, worker.began, event.kind or "crash", event.cause, worker.given))
    del view.workers[worker.id]
    for flight in worker.window.values():
        commands += _disown(view, worker.id, flight)
    view.holders = {
        sha: kept for sha, pairs in view.holders.items() if (kept := [p for p in pairs if p[0] != worker.id])
    }
    job.slots[worker.slot] = now + job.cooldown_s
    if lost:
        job.deaths_in_row += 1
        commands += _after_death(job, event, now)
    return commands


def _after_death(job: JobView, event: w.WorkerGone, now: float) -> list[w.Command]:
    if event.kind in ("misconfigured", "unavailable"):
        return _fault(job, event.kind, event.cause, now)
    if job.deaths_in_row >= DEATHS_TOLERATED:
        reason = f"degraded: {job.deaths_in_row} workers in a row died without finishing one item; last: {event.cause}"
        return _fault(job, "degraded", reason, now)
    return []


def _sink_gone(view: View, event: w.SinkGone, now: float) -> list[w.Command]:
    job = view.jobs.get(event.job)
    sink = job.sinks.get(event.sink) if job else None
    if job is None or sink is None:
        return []
    asked = sink.state == "ending"
    sink.state = "off"
    if event.clean or asked:
        return []
    sink.message = event.cause
    sink.not_before = now + SINK_RESTARTS_S[min(sink.failures, len(SINK_RESTARTS_S) - 1)]
    sink.failures += 1
    if event.kind == "misconfigured":
        sink.not_before = now + SLOWEST_RETRY_S
        return _fault(job, "misconfigured", event.cause, now)
    return []
