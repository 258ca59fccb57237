"""One JSON-RPC 2.0 connection to the daemon: a request line out, a reply line in, errors with their exit code."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time

from ingestctl import locations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_FAILED_ITEMS = 3
EXIT_UNREACHABLE = 4
EXIT_TEMPORARY = 5
EXIT_INTERRUPTED = 130

MAX_LINE = 64 * 1024
"""Bytes of one request line, the daemon's limit."""

PATIENCE_S = 3.0
"""Seconds of silence after which a person is told what is being waited for."""

FINISHING = "waiting for the images in the model to finish …"
"""Said while a verb waits for the workers: what is in the model is finished first."""

QUICK_S = 30.0
"""Seconds for a verb that only reads: the daemon answers those in milliseconds, so silence means trouble."""

_ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR)
_INVALID_PARAMS = -32602
_UNKNOWN_METHOD = -32601


class CommandError(Exception):
    """What is printed as ``Error: cannot <operation> <object>: <message>`` and ``Try: <remedy>``."""

    def __init__(self, message: str, *, operation: str, object: str, remedy: str, exit: int = EXIT_ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.object = object
        self.remedy = remedy
        self.exit = exit


class Away(CommandError):
    """The daemon cannot be reached, or went away in the middle. ``absent``: nobody listens on its socket."""

    def __init__(self, message: str, *, operation: str = "reach", remedy: str = "", absent: bool = False) -> None:
        super().__init__(
            message,
            operation=operation,
            object="the daemon",
            remedy=remedy or "start it with: ingestctl start",
            exit=EXIT_UNREACHABLE,
        )
        self.absent = absent


def usage(message: str, *, operation: str, object: str, remedy: str) -> CommandError:
    """A mistake on the argument line that only this client can see."""
    return CommandError(message, operation=operation, object=object, remedy=remedy, exit=EXIT_USAGE)


class Connection:
    """One connection; calls go one after the other."""

    def __init__(self) -> None:
        path = locations.socket()
        self._buffer = b""
        self._next = 0
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._sock.connect(path)
        except OSError as error:
            self._sock.close()
            if error.errno in _ABSENT:
                raise Away(f"no daemon is running (nobody listens on {path})", absent=True) from None
            reason = error.strerror or str(error)
            raise Away(f"{path}: {reason}", remedy="check who owns this folder, and INGESTD_HOME") from None
        owner = _owner(self._sock)
        if owner not in (os.getuid(), 0) and os.getuid() != 0 and not locations.is_named():
            # In /tmp anybody may be the first to make the folder where this user's daemon would listen.
            self._sock.close()
            raise Away(f"{path} is answered by user {owner}, not by you", remedy="check who owns this folder")

    def call(
        self, verb: str, params: dict[str, Any], *, timeout: float | None = QUICK_S, patience: str = ""
    ) -> dict[str, Any]:
        """The result of ``verb``.

        ``timeout`` is in seconds; None waits as long as it takes. ``patience`` is printed on stderr when the answer
        takes longer than ``PATIENCE_S``. Raises ``CommandError``, and ``Away`` when the connection ends.
        """
        self._next += 1
        line = request(verb, params, self._next)
        try:
            self._sock.settimeout(timeout)
            self._sock.sendall(line)
        except OSError as error:
            raise self._lost(verb, error.strerror or str(error)) from None
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            reply = json.loads(self._line(verb, deadline, patience))
            # A line that the daemon could not read at all is answered with a null id.
            if "method" not in reply and reply.get("id") in (self._next, None):
                break
        if "error" in reply:
            raise failure(verb, reply["error"])
        result: dict[str, Any] = reply["result"]
        return result

    def drain(self, seconds: float) -> None:
        """Wait until the daemon ends the connection, at most ``seconds``."""
        self._sock.settimeout(seconds)
        try:
            while self._sock.recv(1 << 16):
                pass
        except OSError:
            pass

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(self, verb: str, deadline: float | None, patience: str) -> bytes:
        parts = [self._buffer]
        said = time.monotonic() + PATIENCE_S if patience else None
        while b"\n" not in parts[-1]:
            now = time.monotonic()
            if said is not None and now >= said:
                said = None
                _say(patience)
            if deadline is not None and now >= deadline:
                raise CommandError(
                    "it says nothing",
                    operation=_asking(verb),
                    object="the daemon",
                    remedy="see what it does with: ingestctl logs",
                    exit=EXIT_TEMPORARY,
                )
            until = [at for at in (said, deadline) if at is not None]
            self._sock.settimeout(max(0.01, min(until) - now) if until else None)
            try:
                data = self._sock.recv(1 << 18)
            except TimeoutError:
                continue
            except OSError as error:
                raise self._lost(verb, error.strerror or str(error)) from None
            if not data:
                raise self._lost(verb, "it ended the connection without an answer")
            parts.append(data)
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        return line

    def _lost(self, verb: str, reason: str) -> Away:
        remedy = "see why with: ingestctl logs; start it again with: ingestctl start"
        return Away(reason, operation=_asking(verb), remedy=remedy)


def _owner(sock: socket.socket) -> int:
    """The user whose process listens, from the kernel (``struct ucred`` on Linux, ``struct xucred`` on macOS)."""
    # macOS has no SO_PEERCRED: there it is LOCAL_PEERCRED (1) at the level SOL_LOCAL (0).
    linux = hasattr(socket, "SO_PEERCRED")
    level, option, size = (socket.SOL_SOCKET, socket.SO_PEERCRED, 12) if linux else (0, 1, 76)
    return int.from_bytes(sock.getsockopt(level, option, size)[4:8], sys.byteorder)


def call(verb: str, params: dict[str, Any], *, timeout: float | None = QUICK_S, patience: str = "") -> dict[str, Any]:
    """The result of one verb over a connection of its own."""
    with Connection() as connection:
        return connection.call(verb, params, timeout=timeout, patience=patience)


def actor() -> str:
    """The name of this user, for the job's history."""
    name = os.environ.get("LOGNAME") or os.environ.get("USER") or f"uid {os.getuid()}"
    return name.encode("ascii", "replace").decode()


def request(verb: str, params: dict[str, Any], number: int) -> bytes:
    """The request line. Parameters that are None, False or empty are left out: they were not given.

    Raises a usage ``CommandError`` for text that is not UTF-8 and for a line over the daemon's limit.
    """
    given = {key: value for key, value in params.items() if value is not None and value is not False and value != []}
    document = {"jsonrpc": "2.0", "id": number, "method": verb, "params": given}
    try:
        line = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:
        values = [word for value in given.values() for word in (value if isinstance(value, list) else [value])]
        odd = next((word for word in values if isinstance(word, str) and not _is_utf8(word)), "a word")
        raise usage(
            f"{odd!r} is not UTF-8", operation=verb, object="with these words", remedy="write them in UTF-8"
        ) from None
    if len(line) > MAX_LINE:
        raise usage(
            f"the request is {len(line):,} bytes, and {MAX_LINE:,} is the limit",
            operation=verb,
            object="so much at once",
            remedy="give a folder above them, or a file list on stdin: ingestctl start -",
        )
    return line


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def failure(verb: str, error: dict[str, Any]) -> CommandError:
    """A JSON-RPC error as the error that is printed."""
    data = error.get("data") or {}
    code = error.get("code")
    remedy = str(data.get("remedy", "see the daemon's log with: ingestctl logs"))
    if code == _UNKNOWN_METHOD:
        # Only the client can know that the verb exists by now; the daemon calls it a mistake.
        remedy = "the daemon is older than this client: ingestctl shutdown, then ingestctl start"
    return CommandError(
        str(error.get("message", "no reason given")),
        operation=str(data.get("operation", _asking(verb))),
        object=str(data.get("object", "the daemon")),
        remedy=remedy,
        exit=int(data.get("exit", EXIT_USAGE if code == _INVALID_PARAMS else EXIT_ERROR)),
    )


def _asking(verb: str) -> str:
    return f"get an answer to {verb!r} from"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
