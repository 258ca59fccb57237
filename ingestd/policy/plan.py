"""What is missing, given the view: a turn, a walk, a worker, a commit, a sink. Pure and level-triggered.

Each function looks at facts alone and notes in the view what it has asked for, so that it does not ask twice.
"""

from __future__ import annotations

import math
from typing import Final

from ingestd.policy import activity, messages as w
from ingestd.policy.state import WINDOW, JobView, Now, SinkView, View, WorkerView
from ingestd.policy.states import JobEvent, move_job
from ingestd.protocol.work import Drain, Finish

GROUP_MAX: Final = 16
"""Outcomes in one commit: half a window, so that the worker has the other half to go on with meanwhile."""

GROUP_S: Final = 0.25
"""Seconds that an outcome waits for company before it is committed."""

DRAIN_S: Final = 60.0
"""Seconds for a model batch to finish after a pause; past it the worker is ended and its items are released."""

CLOSING_DRAIN_S: Final = 15.0
"""The same when the daemon shuts down: a service manager waits for it."""

WALK_END_S: Final = 10.0
"""Seconds for a walker to go: it only lists, so it is slow because its source is, and a pause waits for it."""

LOAD_S: Final = 900.0
"""Seconds for a process to load its models or to open its store: on a slow disk it takes minutes, and not for ever."""

LOAD_RETRY_S: Final = 300.0
"""Seconds until it is tried again."""

QUIET_S: Final = 60.0
"""Seconds without a word from those who read a source until it is asked whether it is there."""

SEARCHED_S: Final = 300.0
"""Seconds that a store stays open after a search."""

IDLE_S: Final = 5.0
"""Seconds that a sink without anything to deliver stays open: the next commit is often near."""


def plan(view: View, clock: Now) -> list[w.Command]:
    """Every command that the present facts call for."""
    commands: list[w.Command] = []
    now = clock.steady
    if not view.closing:
        commands += _reopen(view) + _turn(view, now)
    for job in view.jobs.values():
        commands += _slow_load(view, job, now)
        if job.status == "running" and not view.closing and not job.removing:
            commands += _compute(view, job, now)
        else:
            commands += _rest(view, job, now) + _probe_early(view, job, now)
        commands += _sinks(view, job, now)
    commands += _overdue(view, now) + _commits(view, now)
    if not view.closing and (turn := _turn(view, now)):  # a job has just ended: the next one begins at once
        return commands + turn + plan(view, clock)
    return commands + activity.awake(view, now)


def next_wake(view: View, clock: Now) -> float:
    """Seconds until time alone can change a decision; at most a minute."""
    now = clock.steady
    times = [now + 60.0, *activity.times(view)]
    if view.buffer:
        times.append(view.buffered_since + GROUP_S)
    for job in view.jobs.values():
        if job.status == "running":
            times += [at for at in job.slots.values() if at > now]
            if job.rescan:
                times.append(job.walk_not_before)
            times.append(_silent_since(view, job) + QUIET_S)
        if job.status == "waiting" and job.retry_at is not None:
            times.append(job.retry_at)
        if job.stopping_walk:
            times.append(job.stopping_walk_since + WALK_END_S)
        times += [at + LOAD_S for at in _loading(view, job)]
        for sink in job.sinks.values():
            times.append(sink.not_before)
            if sink.state == "on":
                times += [sink.idle_since + IDLE_S, sink.used + SEARCHED_S]
            elif sink.state != "off":
                times.append(sink.since + (LOAD_S if sink.state == "starting" else _patience(view)))
    times += [worker.since + _patience(view) for worker in view.workers.values()
              if worker.state in ("draining", "finishing")]  # fmt: skip
    return max(0.01, min(at for at in times if at > now) - now + 0.001)


# ---------------------------------------------------------------------------------------------------------------- jobs


def _move(job: JobView, event: JobEvent, reason: str) -> w.Command:
    job.status = move_job(job.status, event)
    job.reason = reason
    return w.SetStatus(job.id, job.status, reason, "")


def _reopen(view: View) -> list[w.Command]:
    """A completed job that owes a walk or has items to do was asked for again, whatever became of the asking itself.

    The request is stored before the view hears of it: the daemon may have ended in between, or the job have completed.
    """
    done = [job for job in view.jobs.values() if job.status == "completed" and not job.removing]
    return [_move(job, "more", "") for job in done if job.rescan or job.tally.open]


def _turn(view: View, now: float) -> list[w.Command]:
    """One job computes at a time: the running one, else the next by priority and age."""
    if any(job.status == "running" for job in view.jobs.values()):
        return []
    jobs = [job for job in view.jobs.values() if not job.removing]
    ready = [job for job in jobs if job.status == "queued" or _waited(job, now)]
    # A job that still winds down from an earlier turn would compute beside the next one.
    if not ready or any(view.workers_of(job.id) for job in view.jobs.values() if job.status != "running"):
        return []
    job = min(ready, key=lambda job: (-job.priority, job.id))
    job.retry_at = None
    return [_move(job, "turn", "")]


def _waited(job: JobView, now: float) -> bool:
    """Whether a waiting job is due: its time has come, or (after a restart) more than a sink is missing."""
    if job.status != "waiting":
        return False
    if job.retry_at is not None:
        return job.retry_at <= now
    return bool(job.tally.open or job.rescan or not job.resolved)


def _compute(view: View, job: JobView, now: float) -> list[w.Command]:
    """What the running job needs next."""
    if not job.resolved:
        if job.probing:
            return []
        job.probing, job.probing_since = True, now
        return [w.StartProbe(job.id)]
    commands: list[w.Command] = []
    if job.rescan and not job.walking and job.walk_not_before <= now:
        job.walking, job.asked = True, now
        commands.append(w.StartWalk(job.id))
    for worker in view.workers_of(job.id):
        commands += _finish_batch(job, worker, now)
    commands += _spawn(view, job, now)
    if _silent_since(view, job) + QUIET_S <= now:
        job.asked = now
        commands.append(w.AskSources(job.id))
    return commands + _conclude(view, job, now)


def _silent_since(view: View, job: JobView) -> float:
    """Since when nothing is heard of those who read a job's sources; infinite where nobody reads.

    A disk or share that is gone in the middle may answer nothing at all, and whoever reads there hangs.
    """
    reads = job.walking or any(worker.began for worker in view.workers_of(job.id))
    return max(view.moved, job.asked) if reads else math.inf


def _probe_early(view: View, job: JobView, now: float) -> list[w.Command]:
    """Resolve the models of a job before its turn: a mistake is told while its person is there, and fetching may take
    as long as the job before it."""
    if job.status != "queued" or job.resolved or job.removing or view.closing:
        return []
    if any(other.probing for other in view.jobs.values()):
        return []
    job.probing, job.probing_since = True, now
    return [w.StartProbe(job.id)]


def _loading(view: View, job: JobView) -> list[float]:
    """Since when processes of a running job load models."""
    if job.status != "running" or view.closing:
        return []
    since = [worker.since for worker in view.workers_of(job.id) if worker.state == "starting"]
    return [*since, job.probing_since] if job.probing else since


def _slow_load(view: View, job: JobView, now: float) -> list[w.Command]:
    """A process that hangs while it loads says nothing and would stand for ever: the job waits, and says why."""
    if all(now - since <= LOAD_S for since in _loading(view, job)):
        return []
    job.retry_at = now + LOAD_RETRY_S
    return [_move(job, "wait", f"degraded: the models were not loaded within {LOAD_S / 60:.0f} minutes")]


def _spawn(view: View, job: JobView, now: float) -> list[w.Command]:
    """Fill the free slots, with no more workers than there are windows or batches of work; suspects first, by one."""
    commands: list[w.Command] = []
    workers = view.workers_of(job.id)
    taken = {worker.slot for worker in workers}
    hungry = sum(worker.state in ("starting", "ready") and not worker.alone for worker in workers)
    for slot in range(job.workers):
        if slot in taken or job.slots.get(slot, 0.0) > now:
            continue
        alone = job.tally.suspect > 0 and not any(worker.alone for worker in workers)
        if not alone and job.tally.pending <= hungry * min(WINDOW, job.batch_size):
            continue
        worker = WorkerView(view.next_worker, job.id, slot, alone, since=now)
        view.next_worker += 1
        view.workers[worker.id] = worker
        workers.append(worker)
        hungry += not alone
        commands.append(w.Spawn(worker.id, job.id, alone))
    return commands


def _more_may_come(job: JobView) -> bool:
    return job.walking or (job.rescan and not job.source_trouble)


def _finish_batch(job: JobView, worker: WorkerView, now: float) -> list[w.Command]:
    """End a batch that has had its items, or that nothing is left for."""
    if worker.state != "ready" or worker.claiming or worker.window:
        return []
    waiting = job.tally.suspect if worker.alone else job.tally.pending
    if not worker.dry and worker.given < job.batch_size and (waiting > 0 or (_more_may_come(job) and not worker.alone)):
        return []
    worker.state, worker.since = "finishing", now
    return [w.Send(worker.id, Finish())]


def _conclude(view: View, job: JobView, now: float) -> list[w.Command]:
    """Nothing left to compute: the job completes, or waits for a sink or a source in words."""
    if job.walking or job.tally.open or view.workers_of(job.id) or any(w_job == job.id for w_job in _buffered(view)):
        return []
    if job.rescan:
        if not job.source_trouble:
            return []
        job.retry_at = job.walk_not_before
        return [_move(job, "wait", f"source offline: {job.source_trouble}")]
    if job.lagging:
        job.retry_at = None
        return [_move(job, "wait", _lag_reason(job))]
    return [_move(job, "finish", "")]


def _buffered(view: View) -> list[int]:
    return [view.workers[worker].job for worker, _ in view.buffer if worker in view.workers]


def _lag_reason(job: JobView) -> str:
    names = ", ".join(sink.name for sink in job.lagging)
    return f"everything is computed; delivering to {names}"


def _rest(view: View, job: JobView, now: float) -> list[w.Command]:
    """A job that is not to compute: its walker ends, its workers finish what is in the model and exit."""
    commands: list[w.Command] = []
    if job.probing and not job.ending_probe and (job.status != "queued" or job.removing or view.closing):
        job.ending_probe = True
        commands.append(w.EndProbe(job.id))
    if job.walking and not job.stopping_walk:
        job.stopping_walk, job.stopping_walk_since = True, now
        commands.append(w.EndWalk(job.id))
    for worker in view.workers_of(job.id):
        if worker.state == "ready":
            worker.state, worker.since = "draining", now
            commands.append(w.Send(worker.id, Drain()))
        elif worker.state == "starting":
            worker.state, worker.since = "killed", now
            commands.append(w.Kill(worker.id, "not needed any more"))
    done = job.status == "waiting" and job.resolved and not job.rescan and not job.tally.open and job.retry_at is None
    if done and not job.lagging and not view.closing:
        commands.append(_move(job, "finish", ""))
    return commands


def _patience(view: View) -> float:
    """Seconds for a process that was asked to go."""
    return CLOSING_DRAIN_S if view.closing else DRAIN_S


def _overdue(view: View, now: float) -> list[w.Command]:
    """Processes that were asked to go, at a pause or at the end of their work, and are still there.

    Each is ended once: a ``since`` without end says so. Sinks that do not open are ended as well, and begun again.
    """
    commands: list[w.Command] = []
    limit = _patience(view)
    for job in view.jobs.values():
        if job.stopping_walk and now - job.stopping_walk_since > WALK_END_S:
            job.stopping_walk_since = math.inf
            commands.append(w.EndWalk(job.id, at_once=True))
        for sink in job.sinks.values():
            late = now - sink.since > (LOAD_S if sink.state == "starting" else limit)
            if sink.state in ("starting", "ending") and late:
                sink.since = math.inf
                commands.append(w.EndSink(job.id, sink.name, at_once=True))
    for worker in view.workers.values():
        if worker.state in ("draining", "finishing") and now - worker.since > limit:
            worker.state = "killed"
            commands.append(w.Kill(worker.id, f"it did not end within {limit:.0f} seconds"))
    return commands


# -------------------------------------------------------------------------------------------------------------- commits


def _commits(view: View, now: float) -> list[w.Command]:
    """Group outcomes; claim in the same transaction for whoever has room in its window."""
    buffered: dict[int, int] = {}
    for worker_id, _ in view.buffer:
        buffered[worker_id] = buffered.get(worker_id, 0) + 1
    full = len(view.buffer) >= GROUP_MAX or (bool(view.buffer) and now - view.buffered_since >= GROUP_S)
    claims: list[w.Claim] = []
    for worker in view.workers.values():
        job = view.jobs[worker.job]
        if worker.state != "ready" or worker.claiming or job.status != "running" or view.closing:
            continue
        room = min(worker.size - len(worker.window) + buffered.get(worker.id, 0), job.batch_size - worker.given)
        waiting = 0 if worker.dry else job.tally.suspect if worker.alone else job.tally.pending
        # A quarter of a window is kept as the worker's reserve while the commit and the claim are under way.
        starving = worker.unsettled <= worker.size // 4
        if room > 0 and waiting > 0 and (full or starving):
            worker.claiming = True
            claims.append(w.Claim(worker.id, room, worker.alone))
    # A worker whose window has run dry has nothing to wait for: everything settled, nothing more to claim.
    dry = any(buffered.get(worker.id) == len(worker.window) for worker in view.workers.values() if worker.window)
    if not (full or claims or (dry and view.buffer)):
        return []
    commands: list[w.Command] = []
    pairs, view.buffer = view.buffer, []
    jobs = {view.workers[worker].job for worker, _ in pairs} | {view.workers[claim.worker].job for claim in claims}
    for job_id in sorted(jobs):
        outcomes = tuple(pair for pair in pairs if view.workers[pair[0]].job == job_id)
        commands.append(
            w.StoreOutcomes(job_id, outcomes, tuple(c for c in claims if view.workers[c.worker].job == job_id))
        )
    return commands


# ---------------------------------------------------------------------------------------------------------------- sinks


def _sinks(view: View, job: JobView, now: float) -> list[w.Command]:
    commands: list[w.Command] = []
    for sink in job.sinks.values():
        commands += _sink(view, job, sink, now)
    return commands


def _sink(view: View, job: JobView, sink: SinkView, now: float) -> list[w.Command]:
    """A sink's process lives while it has something to deliver or was searched lately, whatever the job's status."""
    end = job.tally.feed_seq
    searched = now - sink.used < SEARCHED_S
    lags = sink.cursor < end
    closing = view.closing or job.removing or sink.dropped
    if sink.state == "off":
        # A running job opens its sinks before it has anything for them: a place that cannot be written is told at once.
        wanted = lags or searched or (job.status == "running" and job.resolved)
        if wanted and now >= sink.not_before and not closing:
            sink.state, sink.told, sink.idle_since, sink.since = "starting", end, now, now
            return [w.StartSink(job.id, sink.name)]
    elif sink.state == "on":
        if closing or not (lags or searched or job.status == "running" or now - sink.idle_since < IDLE_S):
            sink.state, sink.since = "ending", now
            return [w.EndSink(job.id, sink.name)]
        if end > sink.told:
            sink.told = end
            return [w.WakeSink(job.id, sink.name, end)]
    elif sink.state == "starting" and closing:
        sink.state, sink.since = "ending", now
        return [w.EndSink(job.id, sink.name)]
    return []
