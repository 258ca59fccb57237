"""Whether the disk will hold what is left of a job: weighed once, when its count is known and some items are done."""

from __future__ import annotations

from ingestd.host.disk import free_bytes
from ingestd.ledger import report
from ingestd.policy import messages as w
from ingestd.policy.disk_estimate import AFTER_ITEMS, estimate, refusal
from ingestd.supervisor.shared import Shared


class DiskCheck:
    """Fills ``shared.estimates``; posts ``DiskShort`` for a job that will not fit."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def weigh(self, job: int) -> None:
        """Weigh a job's rest, if it is time and has not been done since its last turn."""
        s = self._shared
        view = s.view.jobs.get(job)
        if view is None:
            return
        tally = view.tally
        known = tally.done + tally.failed >= AFTER_ITEMS and not view.walk and not view.rescan
        if job in s.estimates or not known or view.status != "running":
            return
        sinks = [sink.kind for sink in s.rows[job].sinks]
        free = free_bytes(s.places.state)

        def weighed(size: float) -> w.Event | None:
            found = s.estimates[job] = estimate(tally.open, size, sinks, free, s.sink_kinds)
            s.log.info("preflight", job=view.name, left=tally.open, needed=found.needed, free=found.free)
            if found.fits:
                return None
            del s.estimates[job]  # it is weighed again at its next turn
            return w.DiskShort(job, refusal(found, str(s.places.state)))

        s.estimates[job] = estimate(0, 0.0, sinks, free, s.sink_kinds)
        s.then(s.ledger.browse(lambda db: report.result_bytes(db, job)), weighed)
