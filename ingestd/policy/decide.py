"""What each event changes in the view, and what follows from it. Pure: the time is passed in, commands are returned.

``decide`` first applies the event, then lets ``plan`` look at the whole view for what is missing (a worker, a walk, a
commit). So most events only change a fact, and every situation that leads to the same facts leads to the same commands.
"""

from __future__ import annotations

from typing import Final

from ingestd.policy import activity, copies, deliveries, messages as w, moves
from ingestd.policy.moves import fault, moved
from ingestd.policy.plan import plan
from ingestd.policy.state import Flight, JobView, ModelFetch, Now, Probing, Rescan, SinkOff, View, WalkStopping
from ingestd.policy.states import JOB_MOVES, JobEvent
from ingestd.protocol.work import Drain
from ingestd.records import Tally

DEATHS_TOLERATED: Final = 5
"""Worker deaths in a row without one committed item: more is no accident, the job waits and says so."""


def decide(view: View, event: w.Event, clock: Now) -> list[w.Command]:
    """Apply ``event`` to ``view``; return what is to be done, in order.

    An event may be about a job, worker, sink or item that is gone by now: then it changes nothing. Raises ``TypeError``
    for one that has no rule here.
    """
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
                found.resolved, found.probe = True, None
        case w.Fetched(job_id):
            if (found := view.jobs.get(job_id)) and isinstance(found.probe, Probing):
                found.probe = _fetched(view, found.probe, event, now)
        case w.ProbeFailed(job_id, kind, reason):
            if found := view.jobs.get(job_id):
                found.probe = None
                if kind != "ended":  # we ended it ourselves, for a pause
                    commands += fault(view, found, kind, reason, now)
        case w.DiskShort(job_id, reason) | w.SourceLost(job_id, reason):
            if found := view.jobs.get(job_id):
                commands += fault(view, found, "unavailable", reason, now)
        case w.Tallied(job_id, tally, gone):
            if found := view.jobs.get(job_id):
                _tallied(found, tally)
            commands += copies.give_up(view, gone)
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
            commands += copies.hashed(view, event)
        case w.ContentKnown():
            commands += copies.looked_up(view, event, now)
        case w.ItemOutcome(worker_id, outcome):
            if flight := view.flight(worker_id, outcome.item):
                copies.settle(view, worker_id, flight, outcome, now)
        case w.Stored():
            commands += _stored(view, event, now)
        case w.WorkerGone():
            commands += _worker_gone(view, event, now)
        case w.SinkDelivered(job_id, name, seq):
            if sink := view.sink(job_id, name):
                deliveries.delivered(sink, seq, now)
        case w.SinkTrouble(job_id, name, message):
            if sink := view.sink(job_id, name):
                sink.message = message
        case w.SinkGone(job_id, name):
            if (found := view.jobs.get(job_id)) and (sink := found.sinks.get(name)):
                commands += deliveries.process_gone(view, found, sink, event, now)
        case w.SinkWanted(job_id, name):
            if sink := view.sink(job_id, name):
                sink.used = now
        case _:
            w.unhandled(event)
    return commands + plan(view, clock)


def _job_known(view: View, job: JobView) -> list[w.Command]:
    """A new job; or new settings of a known one, and a walk that is still to be made.

    What the view knows by itself (status, counts, what is under way) is ahead of what was read from the ledger beside
    commits that were still on their way, so it is kept.
    """
    old = view.jobs.get(job.id)
    if old is None:
        taken = any(other.status == "running" for other in view.jobs.values())
        view.jobs[job.id] = job
        # At a start jobs come one by one: an older one that was queued has just got the turn of this one.
        return [moved(job, "yield")] if taken and job.status == "running" else []
    old.name, old.priority, old.batch_size = job.name, job.priority, job.batch_size
    old.workers, old.cooldown_s = job.workers, job.cooldown_s
    old.resolved = old.resolved or job.resolved
    if job.rescan:  # asked by a person, who may have brought back what was away
        old.rescan = Rescan()
    for name, sink in job.sinks.items():
        known = old.sinks.setdefault(name, sink)
        if known.dropped:
            known.dropped, known.cursor = False, sink.cursor
    for name in old.sinks.keys() - job.sinks.keys():
        old.sinks[name].dropped = True
        if old.sinks[name].is_off:
            del old.sinks[name]
    return []


def _tallied(job: JobView, tally: Tally) -> None:
    """Items that ended are progress, also those that were quarantined: it is not the machine that ends the workers."""
    if tally.done + tally.failed > job.tally.done + job.tally.failed:
        job.deaths_in_row = job.waits = 0
    job.tally = tally


def _fetched(view: View, probe: Probing, event: w.Fetched, now: float) -> Probing:
    """How a probe stands that fetches: its deadline is for standing still."""
    since = probe.since
    if probe.fetching is None or (event.model, event.done) != (probe.fetching.model, probe.fetching.done):
        since = view.moved = now
    whole = 0 < event.total <= event.done
    return Probing(since, None if whole else ModelFetch(event.model, event.done, event.total))


def _asked(job: JobView, event: JobEvent, actor: str) -> list[w.Command]:
    if event not in JOB_MOVES[job.status]:
        return []  # repeating a command, or one that does not apply any more, changes nothing
    if event in ("resume", "more"):
        job.deaths_in_row = job.waits = 0
        if job.rescan:
            job.rescan = Rescan(failures=job.rescan.failures)
        for sink in job.sinks.values():
            sink.failures = 0
            sink.state = SinkOff() if sink.is_off else sink.state
    return [moved(job, event, actor=actor)]


def _walk_ended(view: View, event: w.WalkEnded, now: float) -> None:
    job = view.jobs.get(event.job)
    if job is None:
        return
    interrupted = isinstance(job.walk, WalkStopping)
    job.walk = None
    job.tally = event.tally
    if event.counts:
        # A start during the walk asks for another one: this one may have passed what that one is to find.
        job.rescan = Rescan() if event.again else None
        return
    rescan = job.rescan or Rescan()
    failures, not_before = rescan.failures, rescan.not_before
    if not interrupted:
        failures += 1
        not_before = now + (moves.SOURCE_RETRY_S if event.trouble else min(60.0, 0.5 * 2**failures))
    job.rescan = Rescan(not_before, failures, event.trouble)


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
                commands += copies.disown(view, worker_id, flight)
    for worker_id, claims in event.claimed.items():
        worker = view.workers.get(worker_id)
        if worker is None:
            continue  # it died while the claim was under way; GiveBack follows the claim and takes the items back
        worker.claiming = False
        worker.dry = not claims and (event.tally.suspect if worker.alone else event.tally.pending) > 0
        for claimed in claims:
            work = claimed.work
            if old := worker.window.get(work.item):  # it vanished and came back while it was in this very window
                commands += copies.disown(view, worker_id, old)
            worker.window[work.item] = Flight(work.item, work.todo)
            worker.given += 1
            if worker.state == "ready":
                commands.append(w.Send(worker_id, work))
    return commands


def _worker_gone(view: View, event: w.WorkerGone, now: float) -> list[w.Command]:
    worker = view.workers.get(event.worker)
    if worker is None:
        return []
    job = view.jobs[worker.job]
    # Exit code 0 of a worker that was not asked to go is a death like any other: a library may call ``exit``.
    ended = worker.state != "killed" and not (event.clean and worker.state in ("draining", "finishing"))
    # One that says what it lacks has not died of an item: what it had begun is no suspect.
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


def _after_death(view: View, job: JobView, event: w.WorkerGone, now: float) -> list[w.Command]:
    if event.kind in ("misconfigured", "unavailable"):
        return fault(view, job, event.kind, event.cause, now)
    if job.deaths_in_row >= DEATHS_TOLERATED:
        reason = f"degraded: {job.deaths_in_row} workers in a row died without finishing one item; last: {event.cause}"
        return fault(view, job, "degraded", reason, now)
    return []
