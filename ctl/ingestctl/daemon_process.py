"""The daemon as a process: start one in the background where none runs, and end the one that runs."""

from __future__ import annotations

import os
import subprocess
import time

from ingestctl import daemon_program, locations
from ingestctl.rpc import EXIT_TEMPORARY, FINISHING, Away, CommandError, Connection

START_S = 15.0
"""Seconds until a started daemon answers: it imports nothing big, so this is enough for a slow disk."""

GONE_S = 15.0
"""Seconds for the daemon's process to end after its answer to ``shutdown``."""

_KEPT_STDERR = 1 << 20
"""Bytes of earlier daemons' stderr that are kept; past that, the file is emptied."""

_STDERR = "ingestd.stderr"


def ensure() -> str:
    """Have a daemon: empty when one runs already, else a sentence that says what was started.

    Where a service is installed, the service is started, so that only one manager keeps the daemon; else a process in
    the background. Raises ``CommandError`` with the daemon's own message if it does not start.
    """
    if _answers():
        return ""
    daemon_program.check_own("start")
    from ingestctl.service.detect import installed

    if service := installed():
        service.up()
        return f"started {service.name}"
    _begin()
    return (
        "started the daemon: it goes on when this terminal closes, but does not come back after a reboot"
        " (then: ingestctl start; or for good: ingestctl service install)"
    )


def end() -> int | None:
    """End the daemon in order; returns its pid once its process is gone, or None where none runs.

    Raises ``CommandError`` when the process is still there after ``GONE_S``.
    """
    try:
        connection = Connection()
    except Away as away:
        if not away.absent:
            raise
        return None
    with connection:
        pid: int = connection.call("hello", {})["pid"]
        try:
            connection.call("shutdown", {}, timeout=None, patience=FINISHING)
            connection.drain(GONE_S)
        except Away:
            pass  # it ended before its answer was sent: what counts is whether its process is gone
    if not gone(pid, GONE_S):
        raise CommandError(
            f"its process {pid} is still there after {GONE_S:.0f} s",
            operation="end",
            object="the daemon",
            remedy="see what it does with: ingestctl logs",
            exit=EXIT_TEMPORARY,
        )
    return pid


def gone(pid: int, seconds: float) -> bool:
    """Whether process ``pid`` has ended, after at most ``seconds``: only then is its lock free for the next one."""
    deadline = time.monotonic() + seconds
    while pid > 0:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        except PermissionError:
            return False
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def _begin() -> None:
    environment = daemon_program.environment()
    stderr, already = _stderr_file()
    try:
        child = subprocess.Popen(
            daemon_program.command(),
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
            # The daemon must not hold the folder where somebody happened to be (it could not be unmounted).
            cwd="/",
            env=environment,
        )
    finally:
        os.close(stderr)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        # First the exit, then the socket: two clients may start two daemons, and the loser's exit is no failure.
        code = child.poll()
        if _answers():
            # The daemon outlives this process, so nobody here will ever wait for it.
            child.returncode = 0
            return
        if code is not None:
            raise _not_started(code, already)
        time.sleep(0.05)
    child.returncode = 0
    raise CommandError(
        f"it did not answer within {START_S:.0f} s and still runs as pid {child.pid}",
        operation="start",
        object="the daemon",
        remedy="see what it does with: ingestctl logs",
    )


def _answers() -> bool:
    try:
        with Connection() as connection:
            connection.call("hello", {}, timeout=START_S)
    except Away as away:
        if not away.absent and away.operation == "reach":
            raise
        return False
    return True


def _stderr_file() -> tuple[int, int]:
    """A descriptor of the file that takes what a daemon prints beside its log, and that file's length in bytes."""
    folder = locations.log()
    path = f"{folder}/{_STDERR}"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if os.fstat(handle).st_size > _KEPT_STDERR:
            os.ftruncate(handle, 0)
        return handle, os.fstat(handle).st_size
    except OSError as error:
        raise CommandError(
            error.strerror or str(error),
            operation="write",
            object=path,
            remedy="make this folder yours and writable, or choose another with INGESTD_HOME",
        ) from None


def _not_started(code: int, already: int) -> CommandError:
    """What a daemon that exited at once printed, from byte ``already`` of its file on."""
    with open(f"{locations.log()}/{_STDERR}", "rb") as file:
        file.seek(already)
        said = daemon_program.last_lines(file.read()) or "it said nothing"
    operation, object, remedy = "start", "the daemon", "see its log with: ingestctl logs"
    if "\nTry: " in said:
        said, _, remedy = said.rpartition("\nTry: ")
    # The daemon's own error has the same form as this client's: it is taken apart, not quoted inside a second one.
    head, colon, message = said.rpartition("Error: cannot ")[2].partition(": ")
    if "Error: cannot " in said and colon:
        operation, _, object = head.partition(" ")
        said = message
    return CommandError(
        said, operation=operation, object=object, remedy=remedy, exit=daemon_program.exit_code(code, object)
    )
