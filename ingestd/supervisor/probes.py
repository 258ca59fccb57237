"""Probes: worker processes that say what the models of a job are on this machine, and fetch those that are not here."""

from __future__ import annotations

from typing import Any

from ingestd.ledger import jobs
from ingestd.lockdown import environment
from ingestd.policy import messages as w
from ingestd.policy.recipe import passes_and_bits, requests_of
from ingestd.protocol import work
from ingestd.records import StepRow
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.shared import Shared


class Probes:
    """Starts, hears and ends them, one a job at most. The answer comes as ``Resolved`` or ``ProbeFailed``."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._running: dict[int, Child] = {}

    def start(self, job: int) -> None:
        """Begin to resolve a job's models."""
        s = self._shared
        spec = s.rows[job].spec
        requests = requests_of(spec)

        def message(said: Any) -> None:
            if isinstance(said, work.Probed):
                steps = passes_and_bits(spec, said.steps)
                future = s.ledger.write(lambda db: jobs.resolve(db, job, steps, said.provenance))
                s.then(future, lambda rows: self._resolved(job, rows))
            elif isinstance(said, work.Fetching):
                s.post(w.Fetched(job, said.model, said.done, said.total))

        def ended(ending: Ending) -> None:
            self._running.pop(job, None)
            if child.kill_asked.is_set():
                s.post(w.ProbeFailed(job, "ended", ending.cause()))
            elif not ending.clean:
                kind = ending.fatal.kind if ending.fatal else "crash"
                s.log.warning("models not resolved", **child.traces, cause=ending.cause())
                s.post(w.ProbeFailed(job, kind, ending.cause()))

        name = s.rows[job].name
        models = [request.model for request in requests]
        child = s.children.start(
            "worker", f"probe {name}", message, ended, job=name,
            secrets=environment.of_models(models), online=environment.may_fetch(models),
        )  # fmt: skip
        child.send(work.Probe(requests, s.machine(job)))
        self._running[job] = child

    def _resolved(self, job: int, rows: list[StepRow]) -> w.Event:
        s = self._shared
        s.steps[job] = rows
        s.recipes[job] = jobs.recipe(rows)
        return w.Resolved(job)

    def end(self, job: int) -> None:
        """End a job's probe at once, if there is one: what it has fetched is kept by the hub's cache."""
        if child := self._running.get(job):
            child.kill()

    def end_all(self) -> None:
        """End every probe, when the daemon shuts down."""
        for child in self._running.values():
            child.kill()
