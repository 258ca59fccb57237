"""``status``: what a person reads of the jobs, and the daemon's reply as JSON."""

from __future__ import annotations

import json
import time

import msgspec

from ingestd.protocol import control as c
from tests.ctl.ctlkit import Home, daemon_status, finished, job


def test_status_shows_what_a_person_wants(home: Home) -> None:
    """Counts, per cent, rate, forecast, sinks, workers, failures and the log's place are in the text."""
    home.daemon()
    ran = home.run("status")
    assert (ran.code, ran.err) == (0, ""), ran
    for words in (
        "photos  running, working",
        "48.2 % so far",
        "12,300 of 25,600 done, 45 failed, 13,223 to do, 32 in work",
        "4,200 an hour, 3 h to 4 h left or more (still scanning), last commit 2 s ago",
        "1,100 video, 103 sidecar",
        "12,300 done, 12 failed  builtin",
        "3 behind, delivering  /state/sinks/u/qdrant",
        "up to date  /state/sinks/u/photos.jsonl",
        "pid 4321, batch 12: working, 45 items, 32 at hand",
        "corrupt, 2 min ago: image file is truncated\n                /photos/x.jpg",
        "done, 1 s ago  /photos/a.jpg",
        "log /home/u/ingestd.log",
    ):
        assert words in ran.out, ran


def test_status_says_why_nothing_runs(home: Home) -> None:
    """A waiting or paused job carries its reason, who asked, until when; older jobs take one line each."""
    jobs = [
        job(name="nas", status="waiting", phase="waiting", reason="source offline: /nas"),
        job(name="beach", status="paused", phase="paused", actor="ada", until=time.time() + 60),
        finished(name="old"),
    ]
    home.daemon(status=c.StatusReply(daemon_status(), jobs))
    out = home.run("status").out
    assert "nas  waiting: source offline: /nas" in out
    assert "beach  paused (by ada, " in out
    assert " until " in out
    assert "old  completed 60 s ago, 100 of 100 done" in out


def test_status_json_is_exactly_the_reply(home: Home) -> None:
    """``--json`` adds and loses nothing; the job asked for reaches the daemon."""
    daemon = home.daemon()
    ran = home.run("status", "photos", "--json")
    assert json.loads(ran.out) == json.loads(msgspec.json.encode(daemon.replies["status"]))
    assert daemon.asked("status") == [c.Status(job="photos")]
