"""``logs``: from the file, from the journal, and readable on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from ingestd.protocol import control as c
from tests.ctl.ctlkit import COMMAND, Home, daemon_status, job


def log_of(home: Home, lines: int) -> Path:
    log = home.folder / "log" / "ingestd.log"
    log.parent.mkdir()
    log.write_text("".join(f"line {i} {'x' * 50}\n" for i in range(lines)))
    return log


@pytest.mark.parametrize("lines", [0, 1, 3, 5000])
def test_logs_show_the_end(home: Home, lines: int) -> None:
    """The last lines of the file itself, without a daemon, whatever its length."""
    log = log_of(home, lines)
    ran = home.run("logs", "-n", "3")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == log.read_text().splitlines()[-3:]
    assert home.run("logs", "-n", "9999").out == log.read_text()


def test_logs_follow_through_a_rotation(home: Home) -> None:
    """``-f`` gives every line, once, also those of a log that takes the place of this one; Ctrl-C ends it."""
    log = log_of(home, 2)
    client = home.popen("logs", "-f")
    assert client.stdout is not None
    assert client.stdout.readline().startswith(b"line 0")
    assert client.stdout.readline().startswith(b"line 1")
    with log.open("a") as file:
        file.write("more\n")
    assert client.stdout.readline() == b"more\n"
    log.rename(log.with_suffix(".1"))
    log.write_text("new\n")
    assert client.stdout.readline() == b"new\n"
    client.send_signal(signal.SIGINT)
    rest, err = client.communicate(timeout=20)
    assert (client.returncode, rest) == (130, b""), err


def test_logs_without_a_log(home: Home) -> None:
    """No log is an error with its place."""
    ran = home.run("logs")
    assert ran.code == 1
    assert f"cannot read {home.folder}/log/ingestd.log: there is no log yet" in ran.err


LINE = {
    "time": "2026-11-22T09:35:27.879Z", "level": "warning", "event": "item failed", "job": "photos", "item": 4,
    "path": "/p/\x1b]0;x.jpg", "message": "no photo", "items": [1, 2], "empty": "",
    "exception": "Traceback\n  File", "counts": {"a": 1},
}  # fmt: skip


def journal_of(home: Home, note: object, script: str) -> dict[str, str]:
    """A home whose daemon left ``note``, and an environment whose ``journalctl`` runs ``script`` in a shell."""
    (home.folder / "log").mkdir()
    (home.folder / "log" / "journal.json").write_text(note if isinstance(note, str) else json.dumps(note))
    programs = home.folder / "bin"
    programs.mkdir()
    (programs / "journalctl").write_text(f'#!/bin/sh\necho "$@" > {shlex.quote(str(home.folder))}/args\n{script}\n')
    (programs / "journalctl").chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("note", "chosen"),
    [
        ({"unit": "ingestd.service", "user": True}, "--user-unit=ingestd.service"),
        ({"unit": "ingestd@ann.service", "user": False}, "--unit=ingestd@ann.service"),
        ({"unit": "", "user": False}, "SYSLOG_IDENTIFIER=ingestd"),
    ],
)
def test_the_journal_is_read(home: Home, note: object, chosen: str) -> None:
    """Without a daemon to ask, by the note that it left: the unit's journal, as it is."""
    env = journal_of(home, note, "echo 'Started.'; echo '{\"event\":\"x\"}'")
    ran = home.run("logs", "-n", "7", env=env)
    assert (ran.code, ran.out, ran.err) == (0, 'Started.\n{"event":"x"}\n', "")
    assert (home.folder / "args").read_text().split() == [
        "--quiet", "--no-pager", "--all", "--output=cat", "--lines=7", chosen,
    ]  # fmt: skip


@pytest.mark.parametrize("note", ["", "garbage", "[]", '{"unit"'])
def test_a_note_that_says_nothing(home: Home, note: str) -> None:
    """The file is read then."""
    env = journal_of(home, note, "exit 9")
    (home.folder / "log" / "ingestd.log").write_text("from the file\n")
    assert home.run("logs", env=env).out == "from the file\n"


def test_the_journal_is_followed(home: Home) -> None:
    """Line by line, until Ctrl-C; journalctl ends with it."""
    env = journal_of(
        home, {"unit": "a.service", "user": False}, f"echo $$ > {home.folder}/pid; echo one; exec sleep 100"
    )
    client = subprocess.Popen(
        [*COMMAND, "logs", "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=home.env(**env), cwd=home.cwd
    )
    home.clients.append(client)
    assert client.stdout is not None
    assert client.stdout.readline() == b"one\n"
    assert (home.folder / "args").read_text().split()[-1] == "--follow"
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=20)
    assert (client.returncode, err) == (130, b"")
    with pytest.raises(ProcessLookupError):
        os.kill(int((home.folder / "pid").read_text()), 0)


def test_a_reader_that_has_enough_of_the_journal(home: Home) -> None:
    """``logs | head``: no error, and no journalctl is left behind."""
    env = journal_of(home, {"unit": "a.service", "user": False}, "yes 'a long line of the log' | head -100000")
    pipeline = f"{shlex.join(COMMAND)} logs | head -1"
    done = subprocess.run(
        pipeline, shell=True, capture_output=True, text=True, env=home.env(**env), cwd=home.cwd, timeout=60
    )
    assert (done.stdout, done.stderr) == ("a long line of the log\n", "")


def test_a_journal_that_may_not_be_read(home: Home) -> None:
    """journalctl's own words, and the two ways on; a user's unit is found by root under that user's name."""
    env = journal_of(home, {"unit": "a.service", "user": True}, "echo No journal files were opened >&2; exit 1")
    ran = home.run("logs", env=env)
    assert ran.code == 1
    assert "cannot read the journal of a.service: No journal files were opened" in ran.err
    assert f"sudo journalctl _SYSTEMD_USER_UNIT=a.service _UID={os.getuid()}" in ran.err


def test_an_empty_journal_is_said(home: Home) -> None:
    """Nothing at all looks like a fault of the client."""
    ran = home.run("logs", env=journal_of(home, {"unit": "a.service", "user": False}, "exit 0"))
    assert (ran.code, ran.out) == (0, "")
    assert "the journal of a.service holds nothing" in ran.err


def test_no_journalctl(home: Home, tmp_path: Path) -> None:
    """A machine without systemd that was given this home."""
    env = journal_of(home, {"unit": "a.service", "user": False}, "")
    ran = home.run("logs", env=env | {"PATH": str(tmp_path)})
    assert ran.code == 1
    assert "journalctl cannot be run: No such file or directory" in ran.err


def on_screen(home: Home, *words: str, **env: str) -> str:
    """What ``logs`` shows on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home.cwd)
        os.execve(COMMAND[0], [*COMMAND, "logs", *words], home.env(TERM="xterm", TZ="UTC", **env))
    shown = b""
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:
        pass  # Linux says EIO at the end of a terminal
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_person_reads_lines(home: Home) -> None:
    """On a terminal: local time, level, event and fields, with colour and without what steers the terminal; what is
    no line of ours stays as it is. ``--json`` gives the log itself."""
    log = home.folder / "log" / "ingestd.log"
    log.parent.mkdir()
    text = json.dumps(LINE)
    log.write_text(f"{text}\nhello \x1b[2J\n")
    shown = on_screen(home)
    assert "\x1b[33mwarning" in shown
    assert re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines() == [
        '2026-11-22 09:35:27 warning  item failed job=photos item=4 path=/p/\\x1b]0;x.jpg message="no photo"'
        " items=1,2 counts=a:1",
        "  exception",
        "    Traceback",
        "      File",
        "hello \\x1b[2J",
    ]
    assert "\x1b" not in on_screen(home, NO_COLOR="1")
    assert on_screen(home, "--json").splitlines()[0] == text


def test_lost_lines_are_shown(home: Home) -> None:
    """``status`` says how many lines the log has lost; nothing, when it has lost none."""
    for dropped, shown in ((0, False), (1234, True)):
        daemon = daemon_status()
        daemon.log_dropped = dropped
        fake = home.daemon(status=c.StatusReply(daemon, [job()]))
        out = home.run("status").out
        assert ("1,234 log lines lost" in out, "log lines lost" in out) == (shown, shown)
        fake.end()
