"""Probes: worker processes that say what the models of a job are on this machine, and fetch those that are not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ingestd.errors import Misconfigured
from ingestd.kinds.steps import ON
from ingestd.ledger import jobs
from ingestd.lockdown import environment
from ingestd.policy import messages as w
from ingestd.policy.recipe import passes_and_bits, requests_of
from ingestd.protocol import work
from ingestd.records import StepRow
from ingestd.supervisor.children import Child, Ending
from ingestd.supervisor.shared import Shared


@dataclass(slots=True)
class ProbeProcess:
    """One probe. ``answered``: it has said what the models are; ``asked``: we have told it to end."""

    child: Child
    answered: bool = False
    asked: bool = False


class Probes:
    """Starts, hears and ends them, one a job at most. The answer comes as ``Resolved`` or ``ProbeFailed``."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._running: dict[int, ProbeProcess] = {}

    def start(self, job: int) -> None:
        """Begin to resolve a job's models."""
        s = self._shared
        spec, kinds = s.rows[job].spec, s.step_kinds
        try:
            requests = requests_of(spec, kinds)
        except Misconfigured as error:  # the package with a kind was removed
            s.post(w.ProbeFailed(job, "misconfigured", error.sentence()))
            return

        def message(said: Any) -> None:
            match said:
                case work.Probed():
                    probe.answered = True
                    try:
                        steps = passes_and_bits(spec, said.steps, kinds)
                    except Misconfigured as error:
                        s.post(w.ProbeFailed(job, "misconfigured", error.sentence()))
                        return
                    future = s.ledger.write(lambda db: jobs.resolve(db, job, steps, said.provenance))
                    s.then(future, lambda rows: self._resolved(job, rows))
                case work.Fetching(model, done, total):
                    s.post(w.Fetched(job, model, done, total))
                case _:
                    s.unexpected(probe.child, said)

        name = s.rows[job].name
        models = [request.model for request in requests if request.model != ON]
        secrets = {secret for ask in spec.steps for secret in kinds[ask.kind].secrets}
        child = s.children.start(
            "worker", f"probe {name}", message, lambda ending: self._ended(job, probe, ending), job=name,
            secrets=environment.of_models(models) | secrets, online=environment.may_fetch(models),
        )  # fmt: skip
        probe = self._running[job] = ProbeProcess(child)
        child.send(work.Probe(requests, s.machine(job)))

    def _ended(self, job: int, probe: ProbeProcess, ending: Ending) -> None:
        s = self._shared
        self._running.pop(job, None)
        if probe.asked:
            s.post(w.ProbeFailed(job, "ended", ending.cause()))
        elif not (ending.clean and probe.answered):
            kind = ending.fatal.kind if ending.fatal else "crash"
            cause = "it ended without an answer" if ending.clean else ending.cause()
            s.log.warning("models not resolved", **probe.child.traces, cause=cause)
            s.post(w.ProbeFailed(job, kind, cause))

    def _resolved(self, job: int, rows: list[StepRow]) -> w.Event:
        s = self._shared
        s.steps[job] = rows
        s.recipes[job] = jobs.recipe(rows)
        return w.Resolved(job)

    def end(self, job: int) -> None:
        """End a job's probe at once, if there is one: what it has fetched lies in the hub's cache."""
        if probe := self._running.get(job):
            probe.asked = True
            probe.child.kill()

    def end_all(self) -> None:
        """End every probe, when the daemon shuts down."""
        for job in self._running:
            self.end(job)
