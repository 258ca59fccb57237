"""What is missing, given the view: a turn, a probe, a walk, a worker, a commit. Pure and level-triggered.

Each function looks at facts alone and notes in the view what it has asked for, so that it does not ask twice.
"""

from __future__ import annotations

import math
from typing import Final

from ingestd.policy import activity, deadlines, deliveries, messages as w
from ingestd.policy.moves import moved
from ingestd.policy.state import WINDOW, JobView, Now, ProbeStopping, Probing, View, Walking, WalkStopping, WorkerView
from ingestd.protocol.work import Drain, Finish

GROUP_MAX: Final = 16
"""Outcomes in one commit: half a window, so that the worker has the other half to go on with meanwhile."""

GROUP_S: Final = 0.25
"""Seconds that an outcome waits for company before it is committed."""

QUIET_S: Final = 60.0
"""Seconds without a word from those who read a source until it is asked whether it is there."""


def plan(view: View, clock: Now) -> list[w.Command]:
    """Every command that the present facts call for."""
    commands: list[w.Command] = []
    now = clock.steady
    if not view.closing:
        commands += _reopen(view) + _turn(view, now)
    for job in view.jobs.values():
        commands += deadlines.slow_load(view, job, now)
        if job.status == "running" and not view.closing and not job.removing:
            commands += _compute(view, job, now)
        else:
            commands += _rest(view, job, now) + _probe_early(view, job, now)
        commands += deliveries.deliver(view, job, now)
    commands += deadlines.overdue(view, now) + _commits(view, now)
    if not view.closing and (turn := _turn(view, now)):  # a job has just ended: the next one begins at once
        return commands + turn + plan(view, clock)
    return commands + activity.awake(view, now)


def next_wake(view: View, clock: Now) -> float:
    """Seconds until time alone can change a decision; at most a minute."""
    now = clock.steady
    times = [now + 60.0, *activity.times(view), *deadlines.times(view)]
    if view.buffer:
        times.append(view.buffered_since + GROUP_S)
    for job in view.jobs.values():
        if job.status == "running":
            times += [at for at in job.slots.values() if at > now]
            if job.rescan:
                times.append(job.rescan.not_before)
            times.append(_silent_since(view, job) + QUIET_S)
        if job.retry_at is not None:
            times.append(job.retry_at)
        times += deliveries.times(job)
    return max(0.01, min(at for at in times if at > now) - now + 0.001)


# ---------------------------------------------------------------------------------------------------------------- jobs


def _reopen(view: View) -> list[w.Command]:
    """A completed job with a walk to make or items to do was asked for again, whatever became of the asking itself.

    The request is stored before the view hears of it: the daemon may have ended in between, or the job have completed.
    """
    done = [job for job in view.jobs.values() if job.status == "completed" and not job.removing]
    return [moved(job, "more") for job in done if job.rescan or job.tally.open]


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
    return [moved(job, "turn")]


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
        if job.probe:
            return []
        job.probe = Probing(now)
        return [w.StartProbe(job.id)]
    commands: list[w.Command] = []
    if job.rescan and not job.walk and job.rescan.not_before <= now:
        job.walk, job.sources_asked = Walking(), now
        commands.append(w.StartWalk(job.id))
    for worker in view.workers_of(job.id):
        commands += _finish_batch(job, worker, now)
    commands += _spawn(view, job, now)
    if _silent_since(view, job) + QUIET_S <= now:
        job.sources_asked = now
        commands.append(w.AskSources(job.id))
    return commands + _conclude(view, job, now)


def _silent_since(view: View, job: JobView) -> float:
    """Since when nothing is heard of those who read a job's sources; infinite where nobody reads.

    A disk or share that is gone in the middle may answer nothing at all, and whoever reads there hangs.
    """
    reads = job.walk or any(worker.began for worker in view.workers_of(job.id))
    return max(view.moved, job.sources_asked) if reads else math.inf


def _probe_early(view: View, job: JobView, now: float) -> list[w.Command]:
    """Resolve the models of a job before its turn: a mistake is told while its person is there, and fetching may take
    as long as the job before it."""
    if job.status != "queued" or job.resolved or job.removing or view.closing:
        return []
    if any(other.probe for other in view.jobs.values()):
        return []
    job.probe = Probing(now)
    return [w.StartProbe(job.id)]


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
    return job.walk is not None or (job.rescan is not None and not job.rescan.trouble)


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
    """Nothing left to compute: the job completes, or waits for a sink or a source, and says so."""
    if job.walk or job.tally.open or view.workers_of(job.id) or any(w_job == job.id for w_job in _buffered(view)):
        return []
    if job.rescan:
        if not job.rescan.trouble:
            return []
        return [moved(job, "wait", f"source offline: {job.rescan.trouble}", retry_at=job.rescan.not_before)]
    if job.lagging:
        return [moved(job, "wait", _lag_reason(job))]
    return [moved(job, "finish")]


def _buffered(view: View) -> list[int]:
    return [view.workers[worker].job for worker, _ in view.buffer if worker in view.workers]


def _lag_reason(job: JobView) -> str:
    names = ", ".join(sink.name for sink in job.lagging)
    return f"everything is computed; delivering to {names}"


def _rest(view: View, job: JobView, now: float) -> list[w.Command]:
    """A job that is not to compute: its walker ends, its workers finish what is in the model and exit."""
    commands: list[w.Command] = []
    if isinstance(job.probe, Probing) and (job.status != "queued" or job.removing or view.closing):
        job.probe = ProbeStopping(job.probe.since)
        commands.append(w.EndProbe(job.id))
    if isinstance(job.walk, Walking):
        job.walk = WalkStopping(now)
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
        commands.append(moved(job, "finish"))
    return commands


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
