"""``status --watch`` on a terminal."""

from __future__ import annotations

import os
import signal
import sys

from tests.ctl.ctlkit import COMMAND, Home, until


def test_watch_on_a_terminal_survives_a_restart(home: Home) -> None:
    """The screen is drawn by rich, says when the daemon is away, goes on when it is back; Ctrl-C detaches with 130."""
    import pty

    daemon = home.daemon()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home.cwd)
        env = home.env(TERM="xterm-256color", COLUMNS="100", LINES="40")
        os.execve(sys.executable, [*COMMAND, "status", "--watch"], env)
    seen = b""

    def sees(words: bytes) -> bool:
        nonlocal seen
        try:
            seen += os.read(terminal, 1 << 16)
        except OSError:
            pass  # Linux says EIO at the end of a terminal
        return words in seen

    until(lambda: sees(b"12,300 of 25,600 done"))
    daemon.end()
    until(lambda: sees(b"the daemon is away"))
    daemon.begin()
    seen = b""
    until(lambda: sees(b"drawn anew"))
    os.kill(pid, signal.SIGINT)
    seen = b""
    until(lambda: sees(b"the jobs go on"))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    os.close(terminal)
