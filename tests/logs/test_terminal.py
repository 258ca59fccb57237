"""The log on a terminal: a real one (pty), read and not read."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestd.logs.log_queue import LogQueue
from ingestd.logs.opening import open_log
from ingestd.logs.terminal import Terminal, readable, wants_colour
from tests.logs.logkit import line, wait_for


class Screen:
    """A pseudo-terminal; ``handle`` is the daemon's end."""

    def __init__(self) -> None:
        self.master, self.handle = pty.openpty()

    def read(self, until: str = "", timeout: float = 20) -> str:
        """What is shown until ``until`` is."""
        data = b""
        deadline = time.monotonic() + timeout
        while until.encode() not in data and time.monotonic() < deadline:
            if select.select([self.master], [], [], 0.05)[0]:
                data += os.read(self.master, 1 << 16)
        assert until.encode() in data, data
        return data.decode()

    def close(self) -> None:
        for handle in (self.master, self.handle):
            try:
                os.close(handle)
            except OSError:
                pass  # the test has closed it


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_terminal_shows_readable_lines(screen: Screen, tmp_path: Path) -> None:
    """Time, level, event and fields on one line, in colour; and the file has the same as JSON."""
    log = open_log(tmp_path / "ingestd.log", "info", True, {"TERM": "xterm"}, screen.handle)
    log.logger.warning("worker died", job="photos", batch=12, pid=4321, cause="it was ended by SIGKILL", items=[7, 8])
    assert log.close()
    shown = screen.read("SIGKILL")
    assert "\x1b[33mwarning" in shown
    words = 'warning  worker died job=photos items=7,8 batch=12 pid=4321 cause="it was ended by SIGKILL"'
    assert re.fullmatch(rf"\d\d:\d\d:\d\d {re.escape(words)}\r\n", plain(shown))
    assert '"event":"worker died"' in (tmp_path / "ingestd.log").read_text()


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colour_is_a_choice(environ: dict[str, str], colour: bool, screen: Screen, tmp_path: Path) -> None:
    """NO_COLOR, when it is not empty, and a dumb terminal get none."""
    assert wants_colour(environ) == colour
    log = open_log(tmp_path / "ingestd.log", "info", True, environ, screen.handle)
    log.logger.error("x")
    assert log.close()
    assert ("\x1b" in screen.read("x")) == colour


def test_nothing_steers_the_terminal() -> None:
    """Escapes, carriage returns and direction overrides in a name are shown, not obeyed."""
    nasty = "a\x1b]0;title\x07\r\x9b2J\u202eb"
    shown = readable(line(nasty, path=nasty, many=[nasty + " x"]), colour=False)
    assert set(re.findall(r"[^\x20-\x7e]", shown)) == {"\n"}
    assert "\\x1b]0;title\\x07\\r\\x9b2J\\u202eb" in shown


def test_what_has_several_lines_follows_indented() -> None:
    """A traceback and a child's last lines stand below, each line on its own."""
    shown = readable(line("x", exception="Traceback\n  File\nError: no\n", last_lines=["one two", "three"], n=1), False)
    assert shown.splitlines()[0].endswith(" x n=1")
    assert shown.splitlines()[1:] == [
        "  exception",
        "    Traceback",
        "      File",
        "    Error: no",
        "  last_lines",
        "    one two",
        "    three",
    ]


def test_a_terminal_that_nobody_reads(screen: Screen, tmp_path: Path) -> None:
    """Stopped with Ctrl-S or behind a dead connection: nobody waits, the file has every line, and once the terminal
    flows it says how many it has not shown."""
    path = tmp_path / "ingestd.log"
    log = open_log(path, "info", False, {})
    queues = [*log.queues, LogQueue(Terminal(screen.handle, False), 20, 1 << 20)]
    began = time.monotonic()
    count = 0
    while queues[1].dropped < 10:
        made = line(str(count), text="x" * 200)
        count += 1
        for queue in queues:
            queue.put(made)
        assert count < 10_000
    assert time.monotonic() - began < 20
    lost = queues[1].dropped
    wait_for(lambda: len(path.read_text().splitlines()) == count)
    shown = screen.read("log lines dropped")
    assert f"lines={lost} target=terminal" in shown + screen.read("terminal" if "target=terminal" not in shown else "")
    numbers = [int(n) for n in re.findall(r"info     (\d+) ", shown)]
    assert numbers == list(range(count - lost))
    assert all(queue.close(time.monotonic() + 20) for queue in queues)


def test_a_line_that_was_shown_in_part(screen: Screen) -> None:
    """On a descriptor that somebody made non-blocking a line is gone on with where it stopped."""
    os.set_blocking(screen.handle, False)
    queue = LogQueue(Terminal(screen.handle, False), 20, 1 << 20)
    wide = "y" * 7000
    for name in ("one", "two"):
        queue.put(line(name, text=wide))
    shown = screen.read("two")
    while not shown.endswith("\n"):
        shown += screen.read("y")
    assert re.findall(r"(one|two) text=(y+)\r\n", shown) == [("one", wide), ("two", wide)]
    assert queue.close(time.monotonic() + 20)


def test_a_terminal_that_is_closed(screen: Screen) -> None:
    """After a hang-up nothing is queued for it, and the lines are not counted as lost."""
    queue = LogQueue(Terminal(screen.handle, False), 20, 1 << 20)
    os.close(screen.master)
    for _ in range(100):
        queue.put(line("x"))
    wait_for(lambda: queue._gone)
    assert queue.close(time.monotonic() + 20)
    queue.put(line("x"))
    assert not queue._queue


def test_a_terminal_that_stops_background_writers(tmp_path: Path) -> None:
    """``stty tostop``: the kernel would stop a process in the background that writes, and with it the daemon."""
    code = f"""
import os
from pathlib import Path
from ingestd.logs.opening import open_log
log = open_log(Path({str(tmp_path / "ingestd.log")!r}), "info", True, {{}}, 2)
log.logger.info("from the background")
os._exit(0 if log.close(20) else 1)
"""
    pid, master = pty.fork()
    if pid == 0:  # the session's leader, as a shell: its child is in another, so a background, process group
        settings = termios.tcgetattr(0)
        settings[3] |= termios.TOSTOP
        termios.tcsetattr(0, termios.TCSANOW, settings)
        child = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ, setpgroup=0)
        _, status = os.waitpid(child, os.WUNTRACED)
        os._exit(0 if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else 1)
    try:
        data = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                data += os.read(master, 1 << 16)
            except OSError:
                break  # Linux's way to say that the other end is closed
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(master)
    assert os.waitstatus_to_exitcode(status) == 0, data
    assert b"from the background" in data
