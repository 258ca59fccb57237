"""The daemon as a process: start one in the background, or ask its program once where none runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from ingestctl import locations
from ingestctl.rpc import EXIT_ERROR, EXIT_TEMPORARY, EXIT_USAGE, Away, CommandError, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

START_S = 15.0
"""Seconds until a started daemon answers: it imports nothing big, so this is room for a sick disk."""

ONESHOT_S = 60.0

_KEPT_STDERR = 1 << 20
"""Bytes of earlier daemons' stderr that are kept; more, and the file begins anew."""

_STDERR = "ingestd.stderr"

_EX_USAGE, _EX_TEMPFAIL, _EX_CONFIG = 64, 75, 78

_HOMES = ("INGESTD_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
_CACHES = ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE")
"""Variables that name a folder, perhaps from where the client stands: the daemon stands elsewhere. In the second kind,
the models' cache, the hub's library takes other variables as well."""


def ensure() -> str:
    """Have a daemon: empty when one runs, else what was started, in words for a person.

    Where a service is installed it is that, so that the daemon has one keeper; else a process in the background. Raises
    ``CommandError`` with the daemon's own words if it will not.
    """
    if _answers():
        return ""
    _not_elsewhere("start")
    from ingestctl.service.detect import installed

    if service := installed():
        service.up()
        return f"started {service.name}"
    _begin()
    return (
        "started the daemon: it goes on when this terminal closes, but does not come back after a reboot"
        " (then: ingestctl start; or for good: ingestctl service install)"
    )


def _begin() -> None:
    environment = own_environment()
    stderr, already = _stderr_file()
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "ingestd"],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
            # The daemon must not hold the folder where somebody happened to stand (it could not be unmounted).
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
            raise _refused(code, already)
        time.sleep(0.05)
    child.returncode = 0
    raise CommandError(
        f"it did not answer within {START_S:.0f} s and still runs as pid {child.pid}",
        operation="start",
        object="the daemon",
        remedy="see what it does with: ingestctl logs",
    )


def oneshot(verb: str) -> dict[str, Any]:
    """The result of ``verb`` without a daemon, from the ledger and the configuration as they lie there."""
    _not_elsewhere("ask")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ingestd", "--oneshot", verb],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=own_environment(),
            timeout=ONESHOT_S,
            check=False,
        )
        document = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise CommandError(
            f"no answer within {ONESHOT_S:.0f} s",
            operation=f"answer {verb!r}",
            object="without a daemon",
            remedy="start one with: ingestctl start",
        ) from None
    except ValueError:
        words = _last_words(done.stderr) or f"it exited with {done.returncode} and said nothing"
        raise CommandError(
            words, operation=f"answer {verb!r}", object="without a daemon", remedy="start one with: ingestctl start"
        ) from None
    error = document.get("error") if isinstance(document, dict) else None
    if error is not None:
        raise _told(verb, error, done.returncode or EXIT_ERROR)
    result: dict[str, Any] = document
    return result


def lines(verb: str, *words: str) -> Generator[dict[str, Any], None, None]:
    """What ``verb`` prints without a daemon, line by line as it comes. Its process ends with this iterator.

    Raises ``CommandError`` with its words.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "ingestd", "--oneshot", verb, "--", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=own_environment(),
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            document = json.loads(line)
            if "error" in document:
                raise _told(verb, document["error"], EXIT_ERROR)
            yield document
        stderr = process.communicate()[1]
        if process.returncode:
            said = _last_words(stderr) or f"its process ended with {process.returncode}"
            raise CommandError(said, operation=f"answer {verb!r}", object="without a daemon", remedy="try it again")
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def _told(verb: str, error: dict[str, Any], code: int) -> CommandError:
    data = error.get("data") or error
    return CommandError(
        str(error.get("message", "no reason given")),
        operation=str(data.get("operation", f"answer {verb!r}")),
        object=str(data.get("object", "without a daemon")),
        remedy=str(data.get("remedy", "")),
        exit=int(data.get("exit", code)),
    )


def _not_elsewhere(operation: str) -> None:
    """Raise ``CommandError`` where another user's daemon is meant: neither it nor its files are this client's."""
    if locations.chosen():
        raise Away(
            f"nobody listens on {locations.socket()}, which INGESTD_SOCKET names",
            operation=operation,
            remedy="ask its owner to start it, or unset INGESTD_SOCKET for a daemon of your own",
        )


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


def _answers() -> bool:
    try:
        with Connection() as connection:
            connection.call("hello", {}, timeout=START_S)
    except Away as away:
        if not away.absent and away.operation == "reach":
            raise
        return False
    return True


def own_environment() -> dict[str, str]:
    """This environment, true from another working folder: relative places and module folders made absolute."""
    from importlib.util import find_spec

    spec = find_spec("ingestd")
    if spec is None or spec.origin is None:
        raise CommandError(
            "its package is not installed beside this client",
            operation="start",
            object="the daemon",
            remedy=f"{sys.executable} -m pip install ingestd",
        )
    env = dict(os.environ)
    for name in (*_HOMES, *_CACHES):
        if env.get(name):
            folder = os.path.expandvars(env[name]) if name in _CACHES else env[name]
            env[name] = os.path.abspath(os.path.expanduser(folder))
    folders = [os.path.abspath(folder) for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder]
    room = os.path.dirname(os.path.dirname(os.path.abspath(spec.origin)))
    if not room.endswith(("site-packages", "dist-packages")) and room not in folders:
        folders.insert(0, room)
    if folders:
        env["PYTHONPATH"] = os.pathsep.join(folders)
    return env


def _stderr_file() -> tuple[int, int]:
    """A descriptor of the file that takes what a daemon prints beside its log, and how long that file is already."""
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


def _refused(code: int, already: int) -> CommandError:
    with open(f"{locations.log()}/{_STDERR}", "rb") as file:
        file.seek(already)
        words = _last_words(file.read()) or "it said nothing"
    operation, object, remedy = "start", "the daemon", "see its log with: ingestctl logs"
    if "\nTry: " in words:
        words, _, remedy = words.rpartition("\nTry: ")
    # The daemon's own sentence has this client's form: it is taken apart, not wrapped into a second one.
    head, colon, message = words.rpartition("Error: cannot ")[2].partition(": ")
    if "Error: cannot " in words and colon:
        operation, _, object = head.partition(" ")
        words = message
    return CommandError(words, operation=operation, object=object, remedy=remedy, exit=own_exit(code, object))


def own_exit(code: int, object: str) -> int:
    """This client's exit code for the daemon's, whose own are those of sysexits(3): see ``ingestd.errors``."""
    if code == _EX_CONFIG:  # of places that cannot be used as well, which are no wrong arguments
        return EXIT_USAGE if object.startswith("the configuration") else EXIT_ERROR
    return {_EX_USAGE: EXIT_USAGE, _EX_TEMPFAIL: EXIT_TEMPORARY}.get(code, EXIT_ERROR)


def _last_words(raw: bytes) -> str:
    """The end of what was printed, without the frames of a traceback."""
    lines = [line for line in raw.decode("utf-8", "replace").splitlines() if line.strip()]
    return "\n".join([line for line in lines[-12:] if not line.startswith(("  ", "Traceback "))])[:4000]
