"""The log of a real daemon: its fields in the journal's form, a reader that stands still, nothing private in it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.house import HastyDaemon, defects
from tests.daemonkit import META, Daemon
from tests.endpointkit import Ask, Reply, described, refuses, says, serving, write_numbered
from tests.logs.logkit import JournalSocket

KEY = "sk-Very/Secret+Key=42"


class JournalledDaemon(HastyDaemon):
    """Started as systemd does it: its stderr is the stream that JOURNAL_STREAM names, ``socket`` is journald's."""

    def __init__(self, home: Path, socket: Path) -> None:
        constants: dict[str, Any] = {"ingestd.logs.journal.SOCKET": os.fspath(socket)}
        super().__init__(home, constants)
        home.mkdir()
        (home / "stderr").touch()
        found = (home / "stderr").stat()
        self.env["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"


class WatchedDaemon(HastyDaemon):
    """Started from a terminal that takes nothing more, as after Ctrl-S, until its other end is ``read``."""

    def __init__(self, home: Path, constants: dict[str, float]) -> None:
        super().__init__(home, constants)
        self.env["TERM"] = "xterm"
        self.master, self._slave = pty.openpty()
        os.set_blocking(self._slave, False)
        try:
            while True:
                os.write(self._slave, b"x" * 100)
        except BlockingIOError:
            os.set_blocking(self._slave, True)

    def start(self) -> None:
        """As a person in that terminal does it."""
        self.home.mkdir(parents=True, exist_ok=True)
        code = self.code()
        self.process = subprocess.Popen([sys.executable, "-c", code], env=self.env, stderr=self._slave)
        self.wait_for(self._answers, 30)

    def stderr(self) -> str:
        return ""

    def read(self, until: str, timeout: float = 30) -> str:
        """What the terminal shows from now on, until ``until`` is in it."""
        shown, deadline = b"", time.monotonic() + timeout
        while until.encode() not in shown:
            assert time.monotonic() < deadline, shown[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                shown += os.read(self.master, 1 << 16)
        return shown.decode()

    def end(self) -> None:
        """The terminal is closed after its daemon."""
        super().end()
        for handle in (self.master, self._slave):
            os.close(handle)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalSocket]:
    sock = JournalSocket(tmp_path / "socket")
    yield sock
    sock.close()


def bad_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"bad-{number:03}.jpg").write_bytes(b"no photo %d" % number)
    return folder


def entries(log: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log]


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: journald is Linux's")
def test_the_journal_gets_the_fields(journal: JournalSocket, tmp_path: Path) -> None:
    """``journalctl INGESTD_JOB=… INGESTD_ITEM=…`` finds each failure with its batch and pid, at warning; what goes
    well is below, and no file is written."""
    photos = bad_photos(tmp_path / "photos", 2)
    with journal.reading() as found, JournalledDaemon(tmp_path / "home", journal.path) as daemon:
        daemon.ingest(photos, **META, sinks=["jsonl"])
        items = dict(daemon.query("SELECT id, name FROM item"))
        status = daemon.call("status")["daemon"]
        assert status["log"] == daemon.call("logs")["path"]
        assert status["log"].startswith("in the journal: journalctl ")
        assert status["log_dropped"] == 0
    assert os.listdir(tmp_path / "home" / "log") == ["journal.json"]
    assert daemon.stderr() == ""
    failed = [entry for entry in found if entry["INGESTD_EVENT"] == [b"item failed"]]
    (ready,) = (entry for entry in found if entry["INGESTD_EVENT"] == [b"worker ready"])
    assert {int(entry["INGESTD_ITEM"][0]) for entry in failed} == set(items)
    for entry in failed:
        message = json.loads(entry["MESSAGE"][0])
        path = os.path.join(os.fsencode(photos), items[message["item"]])
        assert (entry["PRIORITY"], entry["INGESTD_JOB"], entry["INGESTD_BATCH"]) == ([b"4"], [b"photos"], [b"1"])
        assert (entry["INGESTD_PATH"], entry["INGESTD_PID"]) == ([path], ready["INGESTD_PID"])
        assert (message["kind"], message["stage"], message["message"]) == (
            "unsupported", "decode", "its bytes are text, not an image",
        )  # fmt: skip
    (ended,) = (entry for entry in found if entry["INGESTD_EVENT"] == [b"batch ended"])
    (started,) = (e for e in found if e["INGESTD_EVENT"] == [b"child started"] and "INGESTD_BATCH" in e)
    for entry in (started, ready, ended):
        assert (entry["PRIORITY"], entry["INGESTD_BATCH"], entry["INGESTD_JOB"]) == ([b"6"], [b"1"], [b"photos"])
        assert entry["INGESTD_PID"] == ready["INGESTD_PID"]
    assert {entry["SYSLOG_IDENTIFIER"][0] for entry in found} == {b"ingestd"}
    assert [found[0]["INGESTD_EVENT"], found[-1]["INGESTD_EVENT"]] == [[b"started"], [b"ended"]]


def test_a_terminal_that_is_stopped_stops_nobody(tmp_path: Path) -> None:
    """Ctrl-S in the daemon's terminal: the job ends, ``status`` answers and counts what the terminal misses, the file
    has every line; once the terminal flows it tells the number."""
    photos = bad_photos(tmp_path / "photos", 300)
    with WatchedDaemon(tmp_path / "home", {"ingestd.logs.log_queue.MAX_LINES": 100}) as daemon:
        job = daemon.ingest(photos, **META, sinks=["jsonl"])
        assert (job["status"], job["counts"]["failed"]) == ("completed", 300)
        began = time.monotonic()
        dropped = daemon.call("status")["daemon"]["log_dropped"]
        assert time.monotonic() - began < 5
        assert dropped > 100
        daemon.wait_for(lambda: sum(entry["event"] == "item failed" for entry in entries(daemon.log())) == 300)
        shown = daemon.read("log lines dropped")
        assert "\x1b[33mwarning" in shown
        daemon.call("shutdown")
        daemon.read("ended")
    told = [entry for entry in entries(daemon.log()) if entry["event"] == "log lines dropped"]
    assert told == []  # the file has missed none
    assert not defects(daemon)


def test_a_terminal_that_stays_stopped_does_not_keep_the_daemon_from_its_end(tmp_path: Path) -> None:
    """SIGTERM ends it within the two seconds that the log is given, and the file has the last line."""
    with WatchedDaemon(tmp_path / "home", {}) as daemon:
        daemon.wait_for(lambda: bool(daemon.log()))
        began = time.monotonic()
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(40) == 0
        assert time.monotonic() - began < 20
    assert entries(daemon.log())[-1]["event"] == "ended"


def test_a_log_that_was_moved_is_begun_anew_at_sighup(tmp_path: Path) -> None:
    """As logrotate asks for it; what came before is in the moved file, what comes after in the new one. In it, a job
    that waits for an end of trouble is a warning, one that is completed is none."""
    with Daemon(tmp_path / "home") as daemon:
        path = tmp_path / "home" / "log" / "ingestd.log"
        path.rename(path.with_name("moved"))
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for(path.exists)
        daemon.ingest(bad_photos(tmp_path / "photos", 1), **META, sinks=["jsonl"])
        nobody = {"describe": "openai:http://127.0.0.1:9/v1#tiny", "embed": "none"}
        away = daemon.ingest(bad_photos(tmp_path / "others", 1), wait=False, **nobody, sinks=["jsonl"])["name"]
        daemon.wait_for(lambda: daemon.job(away)["status"] == "waiting")
    old = entries(path.with_name("moved").read_text().splitlines())
    assert old[0]["event"] == "started"
    new = entries(daemon.log())
    assert any(entry["event"] == "item failed" for entry in new)
    levels = {(entry["job"], entry["status"]): entry["level"] for entry in new if entry["event"] == "job status"}
    assert levels["photos", "completed"] == "info"
    assert levels[away, "waiting"] == "warning"
    assert not defects(daemon)


def test_nothing_private_is_logged(tmp_path: Path) -> None:
    """No description and no key, at any level, not in what a model's server says of a picture either: a refusal may
    quote what it made. The server here repeats both in all its answers, and one picture kills each worker.

    Each death is told with job, batch, pid and the items that may be the cause, and the item that was it at the end.
    """
    write_numbered(tmp_path / "photos", 12)
    caption = "Two people who would not like to be read about"

    def behave(ask: Ask) -> Reply:
        if ask.number == 11:
            return says("", after_s=60)
        if ask.number is None or ask.number < 6:
            return says(f"{caption}; {described(ask.number)} {ask.authorization}")
        return refuses(400, f"'{caption}' is not allowed, says {ask.authorization}")

    daemon = Daemon(tmp_path / "home", {"INGESTD_ENDPOINT_KEY": KEY, "INGESTD_LOG_LEVEL": "debug"})
    with serving(key=KEY, behave=behave) as server, daemon:
        asked = {"describe": server.name, "embed": "none", "sinks": ["jsonl"], "concurrency": 1}
        name = daemon.ingest(tmp_path / "photos", wait=False, **asked)["name"]
        pids = []
        for death in range(3):
            daemon.wait_for(lambda death=death: server.counts[11] > death)
            (worker,) = daemon.children("worker")
            pids.append(worker.pid)
            worker.kill()
        job = dict(daemon.call("wait", 300, job=name)["job"])
        assert (job["counts"]["done"], job["counts"]["failed"]) == (6, 6)
        made = [line["description"] for line in daemon.jsonl(job).values() if line["description"]]
        reasons = {row["item"]: row["message"] for row in daemon.call("failed", job=name)["rows"]}
    assert len(made) == 6
    assert all(caption in text for text in made)  # it is where it belongs
    assert sum(caption in text for text in reasons.values()) == 5
    files = [path for path in (tmp_path / "home").rglob("*") if path.parent.name == "log" or path.name == "stderr"]
    text = "\n".join(path.read_text() for path in files)
    assert caption not in text
    assert KEY not in text
    log = entries(daemon.log())
    died = [entry for entry in log if entry["event"] == "worker died"]
    assert [entry["pid"] for entry in died] == pids
    assert {(entry["job"], entry["level"], entry["cause"]) for entry in died} == {
        ("photos", "warning", "it was ended by SIGKILL")
    }
    (culprit,) = (item for item, message in reasons.items() if caption not in message)
    assert all(culprit in entry["items"] for entry in died)
    assert died[1]["items"] == died[2]["items"] == [culprit]
    assert len({entry["batch"] for entry in died}) == 3
    failed = {entry["item"]: entry for entry in log if entry["event"] == "item failed"}
    assert failed.keys() == reasons.keys()
    last = failed.pop(culprit)
    assert (last["kind"], last["stage"], last["message"]) == ("crash", "worker", "it was ended by SIGKILL")
    assert (last["batch"], last["pid"]) == (died[2]["batch"], pids[2])
    assert last["path"].endswith("/photos/picture-011.jpg")
    assert {(e["kind"], e["stage"], e.get("message")) for e in failed.values()} == {("model", "model", None)}
