"""What a fault makes of a job, as tables."""

from __future__ import annotations

import pytest

from ingestd.policy import messages as w
from ingestd.policy.moves import SLOWEST_RETRY_S
from ingestd.policy.state import Probing
from tests.policy.views import decide, job, view, working


@pytest.mark.parametrize(
    ("kind", "status"), [("misconfigured", "failed"), ("unavailable", "waiting"), ("crash", "waiting")]
)
def test_a_probe_that_fails(kind: str, status: str) -> None:
    """Only a person helps against ``misconfigured``; everything else is tried again."""
    v = view(job(resolved=False, probe=Probing(0.0)))
    decide(v, w.ProbeFailed(1, kind, "because"), 0.0)
    assert (v.jobs[1].status, v.jobs[1].reason) == (status, "because")


@pytest.mark.parametrize(
    "event", [w.ProbeFailed(1, "crash", "killed"), w.DiskShort(1, "full"), w.WorkerGone(1, False, "misconfigured", "x")]
)
def test_a_shutdown_changes_no_status(event: w.Event) -> None:
    """What ends because the daemon ends says nothing of the job: it goes on after the next start."""
    v, _ = working(0)
    v.closing = True
    assert not any(isinstance(command, w.SetStatus) for command in decide(v, event, 0.0))
    assert v.jobs[1].status == "running"


def test_waits_grow_to_a_limit() -> None:
    """A fault that stays is looked at every ten minutes, not less often."""
    v = view(job(waits=20))
    decide(v, w.DiskShort(1, "full"), 0.0)
    assert v.jobs[1].retry_at == SLOWEST_RETRY_S
