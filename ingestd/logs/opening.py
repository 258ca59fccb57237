"""The daemon's log, put together: which targets there are, and the logger that feeds them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog
from structlog.typing import FilteringBoundLogger

from ingestd.host.log_note import own_unit, take_note
from ingestd.logs import journal, log_queue
from ingestd.logs.lines import Line, finisher
from ingestd.logs.log_queue import LogQueue, Target
from ingestd.logs.rotated import RotatedFile
from ingestd.logs.secrets import secrets_of
from ingestd.logs.terminal import Terminal, wants_colour

FLUSH_S: Final = 2.0
"""Seconds that the end waits for lines on their way; a reader that stands still costs no more."""


class Outlet:
    """What structlog calls with each finished line; every level's method is the same one."""

    def __init__(self, queues: list[LogQueue]) -> None:
        self._queues = queues

    def put(self, line: Line) -> None:
        """Hand a line to every target. Never blocks."""
        for queue in self._queues:
            queue.put(line)

    debug = info = warning = error = critical = exception = put


class Log(NamedTuple):
    """An open log. ``logger`` takes lines from any thread and never blocks."""

    logger: FilteringBoundLogger
    queues: list[LogQueue]

    def dropped(self) -> int:
        """Lines that a target will never get, because it stood still for too long; of all targets together."""
        return sum(queue.dropped for queue in self.queues)

    def reopen(self) -> None:
        """Begin a file anew at its place (after SIGHUP: somebody has moved it away). Never blocks."""
        for queue in self.queues:
            queue.reopen()

    def close(self, seconds: float = FLUSH_S) -> bool:
        """Write what is on its way and end; whether all of it was written within ``seconds``."""
        until = time.monotonic() + seconds
        ended = [queue.close(until) for queue in self.queues]
        return all(ended)


def open_log(path: Path, level: str, terminal: bool, environ: Mapping[str, str] = os.environ, stderr: int = 2) -> Log:
    """The daemon's log: the journal where ``stderr`` is the journal's, else the file ``path``.

    ``terminal``: readable lines on ``stderr`` as well. ``level`` is the least that is kept: debug, info, warning or
    error. Raises ``OSError`` when the file cannot be opened.
    """
    targets: list[Target] = [_lasting(path, environ, stderr)]
    if terminal:
        targets.append(Terminal(stderr, wants_colour(environ)))
    queues = [LogQueue(target, log_queue.MAX_LINES, log_queue.MAX_BYTES) for target in targets]
    return Log(logger_to(Outlet(queues), level, secrets_of(environ)), queues)


def logger_to(outlet: Any, level: str, secrets: tuple[str, ...] = ()) -> FilteringBoundLogger:
    """A logger that hands its lines, from ``level`` up, to ``outlet``. It changes nothing global."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        outlet,
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, finisher(secrets)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    ).bind()
    return logger


def _lasting(path: Path, environ: Mapping[str, str], stderr: int) -> Target:
    """Where lines are kept. The journal keeps, rotates and dates them itself, so no file is written beside it."""
    if journal.is_stderr(environ, stderr):
        try:
            target = journal.Journal(journal.SOCKET)
        except OSError:
            pass  # shut out by a sandbox, say: the file is then the log
        else:
            take_note(path, own_unit(_own_cgroup()))
            return target
    file = RotatedFile(path)
    take_note(path, None)
    return file


def _own_cgroup() -> str:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
