"""journald's native protocol, against a real datagram socket that reads it as strictly as journald does."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestd.host.log_note import NOTE, Note, own_unit, where
from ingestd.logs import journal
from ingestd.logs.journal import Journal, is_stderr
from ingestd.logs.log_queue import LogQueue
from ingestd.logs.opening import open_log
from tests.logs.logkit import JournalSocket, fill, line, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: journald is Linux's")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[JournalSocket]:
    sock = JournalSocket(tmp_path / "socket")
    yield sock
    sock.close()


@pytest.fixture
def target(listening: JournalSocket) -> Iterator[Journal]:
    made = Journal(listening.path)
    yield made
    made.close()


@pytest.mark.parametrize(("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)])
def test_an_entry_has_its_fields(listening: JournalSocket, target: Journal, level: str, priority: int) -> None:
    """``journalctl -p`` goes by PRIORITY, ``journalctl INGESTD_JOB=`` by ours; MESSAGE is the whole JSON line."""
    sent = line(
        "item failed", level, job="photos", item=4, batch=2, pid=77, kind="corrupt", path="/p/ü.jpg", detail="x"
    )
    target.write(sent)
    entry = listening.entry()
    assert json.loads(entry.pop("MESSAGE")[0]) == json.loads(sent.text)
    assert entry == {
        "PRIORITY": [b"%d" % priority],
        "SYSLOG_IDENTIFIER": [b"ingestd"],
        "SYSLOG_PID": [b"%d" % os.getpid()],
        "INGESTD_EVENT": [b"item failed"],
        "INGESTD_JOB": [b"photos"],
        "INGESTD_ITEM": [b"4"],
        "INGESTD_BATCH": [b"2"],
        "INGESTD_PID": [b"77"],
        "INGESTD_KIND": [b"corrupt"],
        "INGESTD_PATH": ["/p/ü.jpg".encode()],
    }
    assert not listening.from_file


def test_each_of_several_items_is_found(listening: JournalSocket, target: Journal) -> None:
    """``journalctl INGESTD_ITEM=8`` finds the death of a worker that had item 8 among others."""
    target.write(line("worker died", items=[7, 8], batch=3))
    assert listening.entry()["INGESTD_ITEM"] == [b"7", b"8"]


@pytest.mark.parametrize("name", ["a\nb.jpg", "\n", "a\n", "a=b", "MESSAGE=x\nPRIORITY=0", "\x00", "x" * 300_000])
def test_a_value_is_one_value(listening: JournalSocket, target: Journal, name: str) -> None:
    """A file name with newlines goes in the binary form: it makes no field of its own."""
    target.write(line("x", job=name))
    entry = listening.entry()
    assert entry["INGESTD_JOB"] == [json.loads(entry["MESSAGE"][0])["job"].encode()]
    assert (len(entry["MESSAGE"]), entry["PRIORITY"]) == (1, [b"6"])


def test_a_big_entry_goes_as_a_sealed_file(listening: JournalSocket, target: Journal) -> None:
    """More than a datagram holds is passed as a descriptor, sealed in every way; none stays open here."""
    # As on a machine whose limit is low.
    target._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    before = set(os.listdir("/proc/self/fd"))
    sent = line("worker died", last_lines=["y" * 7990] * 60)
    target.write(sent)
    assert set(os.listdir("/proc/self/fd")) == before
    entry = listening.entry()
    assert listening.from_file
    assert entry["MESSAGE"] == [sent.text]
    assert listening.seals == fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    target.write(line("small"))
    assert listening.entry()["INGESTD_EVENT"] == [b"small"]
    assert not listening.from_file


def test_a_journal_that_stands_still(listening: JournalSocket) -> None:
    """The kernel holds what it may and the queue what it may; the rest is dropped and counted, and nobody waits."""
    queue = LogQueue(Journal(listening.path), 20, 1 << 20)
    depth = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    began = time.monotonic()
    put = 0
    while queue.dropped < 50:
        queue.put(line(str(put)))
        put += 1
        assert put < 100_000
        if put > depth + 100:
            time.sleep(0.0005)
    assert time.monotonic() - began < 60
    lost = queue.dropped
    found: list[dict[str, list[bytes]]] = []

    def caught_up() -> bool:
        found.extend(listening.queue())
        return any(entry["INGESTD_EVENT"] == [b"log lines dropped"] for entry in found)

    wait_for(caught_up)
    events = [int(entry["INGESTD_EVENT"][0]) for entry in found if entry["INGESTD_EVENT"][0].isdigit()]
    assert events == list(range(put - lost))
    (gap,) = (json.loads(e["MESSAGE"][0]) for e in found if e["INGESTD_EVENT"] == [b"log lines dropped"])
    assert (gap["lines"], gap["target"]) == (lost, "journal")
    assert queue.close(time.monotonic() + 20)


def test_a_journal_that_is_started_again(listening: JournalSocket) -> None:
    """While nobody listens lines wait; to the new socket they go by themselves."""
    queue = LogQueue(Journal(listening.path), 100, 1 << 20)
    queue.put(line("before"))
    assert listening.entry()["INGESTD_EVENT"] == [b"before"]
    listening.close()
    queue.put(line("meanwhile"))
    again = JournalSocket(listening.path)
    queue.put(line("after"))
    assert [again.entry()["INGESTD_EVENT"][0] for _ in range(2)] == [b"meanwhile", b"after"]
    assert queue.close(time.monotonic() + 20)
    again.close()


def test_the_journal_is_told_by_its_stream(tmp_path: Path) -> None:
    """JOURNAL_STREAM counts only if it names our stderr: it is inherited by what was redirected since."""
    with open(tmp_path / "stderr", "w") as file:
        found = os.fstat(file.fileno())
        assert is_stderr({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, file.fileno())
        for other in (f"{found.st_dev}:{found.st_ino + 1}", f"{found.st_dev}", "", "a:b"):
            assert not is_stderr({"JOURNAL_STREAM": other}, file.fileno())
        assert not is_stderr({}, file.fileno())
    assert not is_stderr({"JOURNAL_STREAM": "1:2"}, 999)


def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> tuple[Any, Path]:
    monkeypatch.setattr(journal, "SOCKET", path)
    log_file = tmp_path / "log" / "ingestd.log"
    with open(tmp_path / "stderr", "w") as file:
        found = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        return open_log(log_file, "info", False, environ, file.fileno()), log_file


def test_under_systemd_no_file_is_written(
    listening: JournalSocket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal keeps the log; a note beside the place of the file says so to those who look there."""
    log, path = opened(tmp_path, monkeypatch, listening.path)
    log.logger.warning("x", job="photos")
    assert log.close()
    entry = listening.entry()
    assert entry["INGESTD_JOB"] == [b"photos"]
    assert entry["CODE_FILE"] == [__file__.encode()]
    assert os.listdir(path.parent) == [NOTE]
    assert where(path).startswith("in the journal: journalctl ")
    # The next daemon is started by hand: its log is the file again.
    log = open_log(path, "info", False, {}, 2)
    assert log.close()
    assert (os.listdir(path.parent), where(path)) == ([path.name], str(path))


def test_a_journal_that_cannot_be_reached_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox without the socket: the log is not lost."""
    log, path = opened(tmp_path, monkeypatch, tmp_path / "nobody")
    log.logger.info("x")
    assert log.close()
    assert json.loads(path.read_text())["event"] == "x"
    assert where(path) == str(path)


@pytest.mark.parametrize(
    ("cgroup", "note", "command"),
    [
        ("0::/system.slice/ingestd.service\n", Note("ingestd.service", False), "journalctl --unit ingestd.service"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ingestd.service\n",
            Note("ingestd.service", True),
            "journalctl --user-unit ingestd.service",
        ),
        (
            "12:memory:/x.service\n1:name=systemd:/system.slice/system-ingestd.slice/ingestd@ann.service/sub\n0::/\n",
            Note("ingestd@ann.service", False),
            "journalctl --unit ingestd@ann.service",
        ),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", Note("init.scope", True), None),
        ("0::/\n", Note("", False), "journalctl SYSLOG_IDENTIFIER=ingestd"),
        ("", Note("", False), None),
        ("garbage\n0::/a b;c.service\n", Note("", False), None),
    ],
)
def test_the_own_unit(cgroup: str, note: Note, command: str | None) -> None:
    """The innermost service or scope, and whether a user's manager runs it."""
    assert own_unit(cgroup) == note
    assert command is None or note.command() == command


def test_a_journal_that_hangs(tmp_path: Path) -> None:
    """A process that holds the socket and does not read: the end waits for its deadline alone."""
    code = (
        "import socket, sys, time; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]);"
        "print('bound', flush=True); time.sleep(120)"
    )
    path = tmp_path / "socket"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"bound\n"
            fill(path)
            queue = LogQueue(Journal(path), 5, 1 << 20)
            queue.put(line("x"))
            began = time.monotonic()
            assert not queue.close(time.monotonic() + 0.2)
            assert time.monotonic() - began < 10
        finally:
            process.kill()
    # Its thread, blocked until now, gives up at the end that it was told of.
    queue._thread.join(20)
    assert not queue._thread.is_alive()
