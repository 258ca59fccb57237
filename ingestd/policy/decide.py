"""What each event changes in the view, and what follows from it. Pure: the time is passed in, commands are returned.

``decide`` first applies the event, then lets ``plan`` look at the whole view for what is missing (a worker, a walk, a
commit). So most events only change a fact, and every situation that leads to the same facts leads to the same commands.
"""

from __future__ import annotations

from typing import Final

from ingestd.policy import activity, messages as w
from ingestd.policy.plan import plan
from ingestd.policy.state import Flight, JobView, Now, View
from ingestd.policy.states import JOB_MOVES, JobEvent, move_job
from ingestd.protocol.work import Drain, Outcome, Verdict
from ingestd.records import Tally

DEATHS_TOLERATED: Final = 5
"""Worker deaths in a row without one committed item: more is no accident, the job waits and says so."""

SOURCE_RETRY_S: Final = 30.0
SLOWEST_RETRY_S: Final = 600.0
SINK_RESTARTS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


def decide(view: View, event: w.Event, clock: Now) -> list[w.Command]:
    """Apply ``event`` to ``view``; return what is to be done, in order."""
    commands: list[w.Command] = []
    now = clock.steady
    if activity.is_sign(event):
        view.moved = now
    match event:
        case w.Tick():
            pass
        case w.JobKnown(job):
            commands += _job_known(view, job)
        case w.JobRemoving(job_id):
            if found := view.jobs.get(job_id):
                found.removing = True
        case w.JobForgotten(job_id):
            view.jobs.pop(job_id, None)
        case w.MoveRequested(job_id, job_event, actor):
            if found := view.jobs.get(job_id):
                commands += _asked(found, job_event, actor)
        case w.Closing():
            view.closing = True
        case w.Resolved(job_id):
            if found := view.jobs.get(job_id):
                found.resolved, found.probing, found.ending_probe, found.fetching = True, False, False, None
        case w.Fetched(job_id, model, done, total):
            if (found := view.jobs.get(job_id)) and found.probing:
                if found.fetching is None or (model, done) != found.fetching[:2]:
                    found.probing_since = view.moved = now  # its deadline is for standing still
                found.fetching = (model, done, total) if done < total or not total else None
        case w.ProbeFailed(job_id, kind, reason):
            if found := view.jobs.get(job_id):
                found.probing = found.ending_probe = False
                found.fetching = None
                if kind != "ended":  # we ended it ourselves, for a pause
                    commands += _fault(view, found, kind, reason, now)
        case w.DiskShort(job_id, reason) | w.SourceLost(job_id, reason):
            if found := view.jobs.get(job_id):
                commands += _fault(view, found, "unavailable", reason, now)
        case w.Tallied(job_id, tally, gone):
            if found := view.jobs.get(job_id):
                _tallied(found, tally)
            commands += _disown_gone(view, gone)
        case w.WalkEnded():
            _walk_ended(view, event, now)
        case w.WorkerReady(worker_id, model_batch):
            if (worker := view.workers.get(worker_id)) and worker.state == "starting":
                worker.state, worker.model_batch = "ready", max(1, model_batch)
        case w.WorkerRefused(worker_id):
            if (worker := view.workers.get(worker_id)) and worker.state in ("ready", "finishing"):
                worker.state, worker.since = "draining", now
                commands.append(w.Send(worker_id, Drain()))
        case w.ItemBegan(worker_id, item):
            if (flight := view.flight(worker_id, item)) and flight.state == "given":
                flight.state = "begun"
        case w.ItemHashed():
            commands += _hashed(view, event)
        case w.ContentKnown():
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
    return commands + plan(view, clock)


def _job_known(view: View, job: JobView) -> list[w.Command]:
    """A new job; or new settings of a known one, and a walk that it owes.

    What the view knows by itself (status, counts, what is under way) is ahead of what was read from the ledger beside
    commits that were still on their way, so it is kept.
    """
    old = view.jobs.get(job.id)
    if old is None:
        taken = any(other.status == "running" for other in view.jobs.values())
        view.jobs[job.id] = job
        # At a start jobs come one by one: an older one that was queued has just got the turn of this one.
        return [moved(job, "yield", "")] if taken and job.status == "running" else []
    old.name, old.priority, old.batch_size = job.name, job.priority, job.batch_size
    old.workers, old.cooldown_s = job.workers, job.cooldown_s
    old.resolved = old.resolved or job.resolved
    if job.rescan:  # asked by a person, who may have brought back what was away
        old.rescan, old.walk_failures, old.walk_not_before, old.source_trouble = True, 0, 0.0, ""
    for name, sink in job.sinks.items():
        known = old.sinks.setdefault(name, sink)
        if known.dropped:
            known.dropped, known.cursor = False, sink.cursor
    for name in old.sinks.keys() - job.sinks.keys():
        old.sinks[name].dropped = True
        if old.sinks[name].state == "off":
            del old.sinks[name]
    return []


def _tallied(job: JobView, tally: Tally) -> None:
    """Items that ended are progress, also those that were quarantined: it is not the machine that ends the workers."""
    if tally.done + tally.failed > job.tally.done + job.tally.failed:
        job.deaths_in_row = job.waits = 0
    job.tally = tally


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
        for sink in job.sinks.values():
            sink.not_before, sink.failures = 0.0, 0
    return [moved(job, event, "", actor)]


def _fault(view: View, job: JobView, kind: str, reason: str, now: float) -> list[w.Command]:
    """Something that the job needs is wrong: for good (``misconfigured``) or for a while."""
    event: JobEvent = "misconfigured" if kind == "misconfigured" else "wait"
    if view.closing or event not in JOB_MOVES[job.status]:
        return []  # at a shutdown a job keeps its status: what ends then says nothing of it
    if event == "wait":
        job.waits += 1
        job.retry_at = now + min(SLOWEST_RETRY_S, SOURCE_RETRY_S * 2 ** (job.waits - 1))
    return [moved(job, event, reason)]


def _walk_ended(view: View, event: w.WalkEnded, now: float) -> None:
    job = view.jobs.get(event.job)
    if job is None:
        return
    interrupted = job.stopping_walk
    job.walking = job.stopping_walk = False
    job.tally = event.tally
    job.source_trouble = event.trouble
    if event.paid:
        # A start during the walk owes another one: this one may have passed what that one asks for.
        job.rescan, job.walk_failures = event.owed, 0
    elif not interrupted:
        job.walk_failures += 1
        job.walk_not_before = now + (SOURCE_RETRY_S if event.trouble else min(60.0, 0.5 * 2**job.walk_failures))


def _hashed(view: View, event: w.ItemHashed) -> list[w.Command]:
    flight = view.flight(event.worker, event.item)
    if flight is None or flight.state not in ("given", "begun"):
        # The item vanished, came back and was given again meanwhile. Unanswered, the worker would wait for ever.
        return [w.Send(event.worker, Verdict(event.item, "drop"))] if event.worker in view.workers else []
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


def _looked(view: View, event: w.ContentKnown, now: float) -> list[w.Command]:
    flight = view.flight(event.worker, event.item)
    if flight is None or flight.state != "checking" or flight.sha256 is None:
        return []
    answered = event.known.done | event.known.failed
    left = flight.todo & ~answered
    if left:
        flight.state = "going"
        return [w.Send(event.worker, Verdict(event.item, "go", left, event.known.texts))]
    commands = [_reuse(view, event.worker, flight, now)]
    waiting = view.holders.pop(flight.sha256, [])
    for worker, item in waiting:
        held = _held(view, worker, item, flight.sha256)
        if held is None:
            continue
        if held.todo & ~answered:
            view.holders.setdefault(flight.sha256, []).append((worker, item))
        else:
            commands.append(_reuse(view, worker, held, now))
    return commands


def _held(view: View, worker: int, item: int, sha256: bytes) -> Flight | None:
    """The flight that waits for this hash; None when it is gone, or was given anew under the same item."""
    flight = view.flight(worker, item)
    return flight if flight is not None and flight.state == "held" and flight.sha256 == sha256 else None


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
    job = view.jobs.get(event.job)
    if job is None:
        return []
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
        worker.dry = not claims and (event.tally.suspect if worker.alone else event.tally.pending) > 0
        for claimed in claims:
            work = claimed.work
            if old := worker.window.get(work.item):  # it vanished and came back while it was in this very window
                commands += _disown(view, worker_id, old)
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
        if held := _held(view, holder, item, sha256):
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
    # Exit code 0 of a worker that was not asked to go is a death like any other: a library may call ``exit``.
    ended = worker.state != "killed" and not (event.clean and worker.state in ("draining", "finishing"))
    # One that says what it lacks has not died of an item: what it had begun is as innocent as the rest.
    told = event.kind in ("misconfigured", "unavailable")
    lost = ended and not told
    mine = tuple(pair for pair in view.buffer if pair[0] == worker.id)
    view.buffer = [pair for pair in view.buffer if pair[0] != worker.id]
    commands: list[w.Command] = [w.StoreOutcomes(job.id, mine, ())] if mine else []
    commands.append(w.GiveBack(worker.id, job.id, lost, worker.began, event.kind or "crash", event.cause, worker.given))
    del view.workers[worker.id]
    # Its last outcomes are on their way to the ledger. Its hashes are free when they have come there: a copy that asked
    # earlier would be told that nothing is known, and be computed again.
    view.gone[worker.id] = [flight for flight in worker.window.values() if flight.sha256 is not None]
    view.holders = {
        sha: kept for sha, pairs in view.holders.items() if (kept := [p for p in pairs if p[0] != worker.id])
    }
    job.slots[worker.slot] = now + job.cooldown_s
    if ended:
        job.deaths_in_row += lost
        commands += _after_death(view, job, event, now)
    return commands


def _disown_gone(view: View, worker: int | None) -> list[w.Command]:
    """What a worker that is gone had in its window has been given back."""
    commands: list[w.Command] = []
    if worker is not None:
        for flight in view.gone.pop(worker, []):
            commands += _disown(view, worker, flight)
    return commands


def _after_death(view: View, job: JobView, event: w.WorkerGone, now: float) -> list[w.Command]:
    if event.kind in ("misconfigured", "unavailable"):
        return _fault(view, job, event.kind, event.cause, now)
    if job.deaths_in_row >= DEATHS_TOLERATED:
        reason = f"degraded: {job.deaths_in_row} workers in a row died without finishing one item; last: {event.cause}"
        return _fault(view, job, "degraded", reason, now)
    return []


def _sink_gone(view: View, event: w.SinkGone, now: float) -> list[w.Command]:
    job = view.jobs.get(event.job)
    sink = job.sinks.get(event.sink) if job else None
    if job is None or sink is None:
        return []
    asked = sink.state == "ending"
    sink.state = "off"
    if sink.dropped:
        del job.sinks[sink.name]
        return []
    if asked:
        return []
    sink.message = event.cause
    sink.not_before = now + SINK_RESTARTS_S[min(sink.failures, len(SINK_RESTARTS_S) - 1)]
    sink.failures += 1
    if event.kind == "misconfigured":
        sink.not_before = now + SLOWEST_RETRY_S
        return _fault(view, job, "misconfigured", event.cause, now)
    return []
