"""What a daemon's process ends with: what a restart cannot mend looks different from what it can."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingestctl.daemon_program import exit_code

from ingestd import errors
from ingestd.errors import EX_CONFIG, EX_SOFTWARE, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE, NO_RESTART, daemon_exit
from tests.daemon.house import HastyDaemon, run_ingestd
from tests.daemonkit import Daemon


@pytest.fixture
def home() -> Iterator[Path]:
    """Short: a notification socket lies in it."""
    made = Path(tempfile.mkdtemp(prefix="exit-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


def said(*words: str) -> dict[str, str]:
    return dict(zip(("operation", "object", "remedy"), words, strict=True))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Misconfigured("m", **said("a", "b", "c"), exit=errors.EXIT_USAGE), EX_CONFIG),
        (errors.Misconfigured("m", **said("a", "b", "c")), EX_CONFIG),
        (errors.AlreadyRunning("m", **said("a", "b", "c")), EX_UNAVAILABLE),
        (errors.Unavailable("m", **said("a", "b", "c")), EX_TEMPFAIL),
        (errors.IngestError("m", **said("a", "b", "c")), EX_SOFTWARE),  # a damaged ledger: the next start salvages it
        (ZeroDivisionError(), EX_SOFTWARE),
    ],
)
def test_kinds_and_codes(error: BaseException, code: int) -> None:
    """The kinds that only a person can end are those after which nobody restarts."""
    assert daemon_exit(error) == code
    assert (code in NO_RESTART) is isinstance(error, (errors.Misconfigured, errors.AlreadyRunning))


def test_the_numbers_are_those_of_the_system() -> None:
    """sysexits(3), by the system's own names."""
    for name in ("EX_USAGE", "EX_UNAVAILABLE", "EX_SOFTWARE", "EX_TEMPFAIL", "EX_CONFIG"):
        assert getattr(errors, name) == getattr(os, name)


def test_a_mistake_is_told_to_the_manager(home: Path) -> None:
    """EX_CONFIG; the sentence is the last status, and stays in ``systemctl status``; under launchd it ends with 0."""
    (home / "config.toml").write_text("batch_size = 0\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(home / "notify"))
        manager.settimeout(20)
        ended = run_ingestd(home, env={"NOTIFY_SOCKET": str(home / "notify")})
        assert ended.returncode == EX_CONFIG
        assert manager.recv(4096) == b"STATUS=starting"
        assert manager.recv(4096).startswith(b"STATUS=cannot read the configuration in ")
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
    ended = run_ingestd(home, "--launchd")
    assert ended.returncode == 0
    assert "batch_size is '0'" in ended.stderr
    assert "not started again" in ended.stderr


def test_wrong_arguments(home: Path) -> None:
    """EX_USAGE for an option that there is not and for stray words, before anything is made; asking is no mistake."""
    for words in (("--daemonize",), ("start",)):
        ended = run_ingestd(home, *words)
        assert ended.returncode == EX_USAGE, ended
        assert words[0] in ended.stderr
    assert list(home.iterdir()) == []
    assert run_ingestd(home, "--version").returncode == 0


def test_a_second_daemon_is_not_tried_again(home: Path) -> None:
    """A daemon that was started by hand keeps the folder: EX_UNAVAILABLE and its pid, 0 under launchd."""
    with Daemon(home) as daemon:
        for arguments, code in (((), EX_UNAVAILABLE), (("--launchd",), 0)):
            second = run_ingestd(home, *arguments)
            assert second.returncode == code
            assert f"another ingestd holds it (pid {daemon.pid})" in second.stderr
            assert "ingestctl shutdown" in second.stderr
        assert daemon.call("hello")["pid"] == daemon.pid


def test_a_defect_of_ours_is_tried_again(home: Path) -> None:
    """An exception that nobody foresaw: its traceback, and a code that both managers restart after."""
    broken = HastyDaemon(home, {"ingestd.daemon.Ledger": 0})
    with pytest.raises(AssertionError, match=rf"(?s)exited with {EX_SOFTWARE}.*TypeError"):
        broken.start()


def test_the_clients_own_codes() -> None:
    """A wrong configuration is a wrong argument to a person, a place that cannot be used is not; the rest by kind."""
    assert exit_code(EX_CONFIG, "the configuration in /x") == errors.EXIT_USAGE
    assert exit_code(EX_CONFIG, "the folder /x") == errors.EXIT_ERROR
    assert exit_code(EX_USAGE, "") == errors.EXIT_USAGE
    assert exit_code(EX_TEMPFAIL, "") == errors.EXIT_TEMPORARY
    assert [exit_code(code, "") for code in (EX_UNAVAILABLE, EX_SOFTWARE, 1, -9)] == [errors.EXIT_ERROR] * 4


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [("workers = 0\n", errors.EXIT_USAGE, "workers is '0'"), (None, errors.EXIT_ERROR, "cannot create the folder")],
)
def test_the_client_tells_a_refusal_by_its_own_code(home: Path, config: str | None, code: int, words: str) -> None:
    """``ingestctl start`` with a daemon that will not begin: its sentence once, and the client's exit code."""
    if config is None:
        (home / "state").write_text("in the way")
    else:
        (home / "config.toml").write_text(config)
    command = [sys.executable, "-m", "ingestctl", "start"]
    done = subprocess.run(command, env=Daemon(home).env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done
    assert words in done.stderr
    assert done.stderr.count("Error: ") == 1
