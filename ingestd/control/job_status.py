"""A job's status as clients see it: what the ledger holds of it and, while the daemon runs, what is happening now."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ingestd.kinds.sinks import SHIPPED, SinkKinds
from ingestd.kinds.steps import META
from ingestd.ledger.report import JobFacts
from ingestd.policy.recipe import shown_place
from ingestd.policy.state import JobView, SinkView
from ingestd.protocol import control as c
from ingestd.supervisor.loop import Supervisor


def job_status(facts: JobFacts, live: Supervisor | None, state: Path) -> c.JobStatus:
    """Everything that ``status`` shows of one job.

    ``live`` is None where no daemon runs: then no work is under way. ``state`` is the state folder.
    """
    row, tally = facts.row, facts.tally
    view = live.view.jobs.get(row.id) if live else None
    status = view.status if view else row.status
    settled = tally.done + tally.failed
    pace = live.paces.get(row.id) if live and status == "running" else None
    rate = pace.rate() if pace else None
    stage = _stage(facts)
    rest = row.spec.cooldown_s * (stage.left // (row.spec.batch_size * row.spec.workers))
    eta = pace.eta(stage.left, rest) if pace and pace.pass_ == stage.pass_ else None
    committed = tally.committed
    now_ms = live.clocks.wall_ms() if live else None
    return c.JobStatus(
        id=row.id,
        uuid=row.uuid,
        name=row.name,
        status=status,
        reason=view.reason if view else row.reason,
        actor=row.actor,
        until=row.until / 1000 if row.until else None,
        phase=(phase_of(view, live) + stage.words) if view and live else _phase_at_rest(facts),
        sources=facts.sources,
        created=row.created / 1000,
        changed=row.changed / 1000,
        counts=c.Counts(
            tally.found,
            tally.skipped,
            tally.pending,
            tally.running,
            tally.suspect,
            tally.done,
            tally.failed,
            tally.gone,
        ),
        reused=tally.reused,
        percent=100 * settled / tally.found if tally.found else None,
        so_far=facts.scan.state in ("running", "owed", "none"),
        rate_per_hour=rate * 3600 if rate else None,
        eta=c.Eta(*eta) if eta else None,
        last_commit_age=max(0.0, (now_ms - committed) / 1000) if committed and now_ms else None,
        scan=facts.scan,
        steps=[
            c.StepStatus(
                s.step.kind,
                "" if s.step.kind == META.name else str(s.step.spec.get("model", "")),
                s.step.fingerprint,
                s.done,
                s.failed,
                s.step.name,
            )
            for s in facts.steps
        ],
        sinks=_sinks(facts, view, state, live.shared.sink_kinds if live else SHIPPED),
        workers=_workers(row.id, live),
        last_failure=facts.last_failure,
        last_items=facts.last_items,
        limit=row.spec.limit,
        batch_size=row.spec.batch_size,
        cooldown=row.spec.cooldown,
        disk=_disk(row.id, live),
    )


class _Stage(NamedTuple):
    """The pass that a job is in and the items left in it. ``words`` name the pass; empty where there is only one."""

    pass_: int
    left: int
    words: str


def _stage(facts: JobFacts) -> _Stage:
    passes = sorted({row.step.pass_ for row in facts.steps})
    if len(passes) < 2:
        return _Stage(0, facts.tally.open, "")
    for number, pass_ in enumerate(passes, 1):
        own = [row for row in facts.steps if row.step.pass_ == pass_]
        left = facts.tally.found - min(row.done + row.failed for row in own)
        if left > 0 and facts.tally.open:
            names = " and ".join(row.step.name for row in own if row.step.kind != META.name)
            return _Stage(pass_, min(left, facts.tally.open), f", pass {number} of {len(passes)} ({names})")
    return _Stage(passes[-1], 0, "")


def _disk(job: int, live: Supervisor | None) -> c.DiskEstimate | None:
    found = live.estimates.get(job) if live else None
    return c.DiskEstimate(found.needed, found.free) if found and found.needed else None


def phase_of(view: JobView, live: Supervisor) -> str:
    """What the job does now, in a few words, as in ``loading models``; its status where it does nothing."""
    workers = live.view.workers_of(view.id)
    if view.status == "waiting" and view.lagging and view.retry_at is None:
        return _delivering(view)
    if view.status != "running":
        return "winding down" if workers else view.status
    if not view.resolved:
        return _fetching(*view.fetching) if view.fetching else "resolving models"
    if any(worker.state == "ready" and worker.window for worker in workers):
        return "scanning and working" if view.walk else "working"
    if any(worker.state == "starting" for worker in workers):
        models = any(row.step.kind != META.name for row in live.steps.get(view.id, []))
        return "loading models" if models else "starting a worker"
    if not workers and any(at > live.clocks.steady() for at in view.slots.values()):
        return "cooling down"
    return "scanning" if view.walk else _delivering(view) if view.lagging else "working"


def _delivering(view: JobView) -> str:
    """For a job whose sinks are behind: ``delivering``, or the trouble of the first sink that has any."""
    trouble = next((sink for sink in view.sinks.values() if sink.message and not sink.dropped), None)
    return f"waiting for the sink {trouble.name}: {trouble.message}" if trouble else "delivering"


def _fetching(model: str, done: int, total: int) -> str:
    if not done and not total:
        return f"asking the hub for {model}"
    of = f" of {total / 1e6:,.0f}" if total else ""
    return f"fetching {model}: {done / 1e6:,.0f}{of} MB"


def _phase_at_rest(facts: JobFacts) -> str:
    return "daemon not running" if facts.row.status in ("queued", "running", "waiting") else facts.row.status


def _sinks(facts: JobFacts, view: JobView | None, state: Path, kinds: SinkKinds) -> list[c.SinkStatus]:
    found = []
    for sink in facts.row.sinks:
        cursor = facts.cursors[sink.name].seq if sink.name in facts.cursors else 0
        lag = max(0, facts.tally.feed_seq - cursor)
        place = shown_place(state, facts.row, sink, [row.step for row in facts.steps], kinds)
        now = view.sinks.get(sink.name) if view else None
        message = now.message if now else ""
        found.append(c.SinkStatus(sink.name, sink.kind, place, cursor, lag, _sink_state(now, lag), message))
    return found


def _sink_state(sink: SinkView | None, lag: int) -> str:
    if sink is None or sink.is_off:
        return "trouble" if sink and sink.message else "stopped" if sink is None or lag else "idle"
    if sink.message:
        return "trouble"
    return "delivering" if lag else "idle"


def _workers(job: int, live: Supervisor | None) -> list[c.WorkerStatus]:
    if live is None:
        return []
    return [
        c.WorkerStatus(
            live.workers.pid_of(w.id) or 0,
            live.workers.batch_of(w.id),
            w.state,
            w.given,
            len(w.window),
            live.workers.lock_of(w.id),
        )
        for w in live.view.workers_of(job)
    ]
