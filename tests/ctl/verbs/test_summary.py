"""``summary``: a job's balance."""

from __future__ import annotations

import json

from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home, finished


def summary_reply() -> c.SummaryReply:
    times = c.PhaseTimes(12345, 12.5, 11.0, 80.0, 2.0, 2500.0)
    batches = c.BatchTotals(124, 1, 12345, 5200.0, 1_200_000_000, 12000.0)
    return c.SummaryReply(finished(3), 0.97, 12000, 12350, 8000.0, {"decode": times}, {"corrupt": 3}, batches)


def test_summary(home: Home) -> None:
    """Success rate, times by phase, failures by kind, batches, memory and processor."""
    home.daemon(summary=summary_reply())
    out = home.run("summary").out
    for words in ("97.0 %", "12,000 distinct contents", "3 corrupt", "124 (1 died)", "1.2 GB", "(1.5 cores)"):
        assert words in out, out
    assert out.splitlines()[-1].split() == ["decode", "0.0125", "0.0110", "0.0020", "2.50", "0.0800", "12,345"]
    assert json.loads(home.run("summary", "--json").out)["contents"] == 12000
