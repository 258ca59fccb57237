"""``wait``: its exit code is the job's result."""

from __future__ import annotations

import pytest

from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home, finished, job


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (finished(), 0),
        (finished(failed=3), 3),
        (job(status="failed", reason="no such model"), 1),
        (job(status="stopped"), 1),
        (job(status="paused"), 5),
    ],
)
def test_wait_exits_with_the_result(home: Home, state: c.JobStatus, code: int) -> None:
    """0 completed, 3 with failed items, 1 failed or stopped, 5 paused."""
    home.daemon(wait=c.WaitReply(state))
    ran = home.run("wait")
    assert ran.code == code
    assert ran.out.startswith(f"photos: {state.status}")


def test_wait_says_what_could_not_be_read(home: Home) -> None:
    """A folder that nobody may read is no failed item: the job completes, and the person is told."""
    errors = [{"path": "/photos/closed", "message": "permission denied"}]
    scan = c.ScanStatus("partial", 1.0, 2.0, 100, {}, errors)
    home.daemon(wait=c.WaitReply(finished(scan=scan)))
    ran = home.run("wait")
    assert ran.code == 0
    assert "Note: 1 place in its sources could not be read; which, and why: ingestctl status photos" in ran.err, ran
