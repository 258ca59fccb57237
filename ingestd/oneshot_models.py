"""``models list|pull|remove`` without a daemon: a child of the worker room does it, and its messages become JSON lines.

The ledger is only looked at, for the jobs that use a model which is to be removed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

import msgspec

from ingestd.errors import EXIT_ERROR, EXIT_TEMPORARY, EXIT_USAGE, IngestError, Misconfigured
from ingestd.ledger.report import JobFacts
from ingestd.protocol import models, work
from ingestd.protocol.wire import FrameReader, frame

ACTIVE: Final = ("queued", "running", "waiting", "paused")

_LINES: Final[dict[type[Any], str]] = {
    models.Models: "models",
    models.Planned: "planned",
    work.Fetching: "fetching",
    models.Pulled: "pulled",
    models.Removed: "removed",
}
"""The name under which each message of the child is printed."""


def run(words: Sequence[str], jobs: Callable[[], list[JobFacts]], say: Callable[[object], None]) -> int:
    """``list``, ``pull NAME`` or ``remove NAME [force]``: a line ``{"planned": {…}}`` for each message; the exit code.

    Raises ``IngestError``.
    """
    match list(words):
        case ["list"]:
            request: models.ListModels | models.PullModel | models.RemoveModel = models.ListModels()
        case ["pull", name]:
            request = models.PullModel(name)
        case ["remove", name, *rest] if rest in ([], ["force"]):
            request = models.RemoveModel(name, _uses(jobs, forced=bool(rest)), bool(rest))
        case _:
            raise Misconfigured(
                f"{list(words)} are no words for it",
                operation="answer",
                object="the verb models",
                remedy="Call it through ingestctl models list, pull NAME or remove NAME",
                exit=EXIT_USAGE,
            )
    with _child() as (process, sock, stderr):
        sock.sendall(frame(msgspec.msgpack.encode(request)))
        for message in _messages(sock):
            if isinstance(message, work.Fatal):
                raise _error(message)
            if kind := _LINES.get(type(message)):
                say({kind: msgspec.structs.asdict(message) | _rows(message)})
        if process.wait() != 0:
            stderr.seek(0)
            last = stderr.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            raise IngestError(
                f"its process ended with {process.returncode}{''.join(f': {line}' for line in last)}",
                operation="ask for",
                object="models",
                remedy="Try again; what has come stays",
            )
    return 0


def _uses(jobs: Callable[[], list[JobFacts]], *, forced: bool) -> list[models.ModelUse]:
    """Which job was asked for with which models. Raises ``IngestError`` for a ledger that cannot be read."""
    try:
        rows = [facts.row for facts in jobs()]
    except IngestError:
        if forced:
            return []
        raise
    return [models.ModelUse(row.name, row.status in ACTIVE, [ask.model for ask in row.spec.steps]) for row in rows]


def _rows(message: Any) -> dict[str, object]:
    """Rows are arrays on the wire; a person's script wants names."""
    if not isinstance(message, models.Models):
        return {}
    return {"models": [msgspec.structs.asdict(row) for row in message.models]}


def _error(fatal: work.Fatal) -> IngestError:
    code = EXIT_TEMPORARY if fatal.kind == "unavailable" else EXIT_ERROR
    return IngestError(fatal.message, operation=fatal.operation, object=fatal.object, remedy=fatal.remedy, exit=code)


@contextmanager
def _child() -> Iterator[tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]]]:
    """The models child with our end of its socket and what it prints; it dies with this process, or with the block."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "ingestd.worker.models_main"]
    with ours, tempfile.TemporaryFile() as stderr:
        with theirs:
            words = ["--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
            process = subprocess.Popen(
                command + words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr
            )
        try:
            yield process, ours, stderr
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _messages(sock: socket.socket) -> Iterator[Any]:
    frames = FrameReader()
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(models.FromModels)
    while data := sock.recv(1 << 16):
        for body in frames.feed(data):
            yield decoder.decode(body)
