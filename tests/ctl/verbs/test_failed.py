"""``failed``: every page of it, as text and as JSON."""

from __future__ import annotations

import json
import time

from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home


def failed_pages(params: c.Failed) -> c.FailedReply:
    """Three pages of two."""
    rows = [failed_row(params.after + i) for i in (1, 2)]
    return c.FailedReply("photos", 6, rows, params.after + 2 if params.after < 4 else None)


def failed_row(item: int) -> c.FailedRow:
    path = f"/p/{item}.jpg"
    return c.FailedRow(item, path, "corrupt", "truncated", "decode", "all", 1, time.time(), "Mend it.", "long detail")


def test_failed_turns_the_pages(home: Home) -> None:
    """Every page is asked for by its cursor; text on stdout, remedies once, on stderr; JSON one row a line."""
    daemon = home.daemon(failed=failed_pages)
    ran = home.run("failed", "photos", "--kind", "corrupt")
    assert ran.out.splitlines() == [f"corrupt     /p/{i}.jpg  truncated" for i in range(1, 7)]
    assert ran.err == "photos: 6 failed files of kind corrupt\n  corrupt: Mend it.\n"
    assert [params.after for params in daemon.asked("failed")] == [0, 2, 4]
    lines = home.run("failed", "--json").out.splitlines()
    assert [json.loads(line)["item"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_reader_that_has_enough(home: Home) -> None:
    """``failed | head`` ends quietly."""
    rows = [
        c.FailedRow(i, f"/p/{i}" + "x" * 100, "corrupt", "m" * 100, "d", "all", 1, time.time(), "", "")
        for i in range(500)
    ]
    home.daemon(failed=lambda params: c.FailedReply("photos", 10**6, rows, params.after + 500))
    client = home.popen("failed")
    assert client.stdout is not None
    assert client.stderr is not None
    client.stdout.readline()
    client.stdout.close()
    assert client.wait(20) == 0
    assert client.stderr.read() == b""
    client.stderr.close()
