"""What the interpreter and libraries say by themselves, taken into the log instead of stderr.

A stderr that nobody reads (a stopped terminal, a full pipe) would block the event loop at the first warning that
Python prints there.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from structlog.typing import FilteringBoundLogger

EVENT: Final = "library"
"""The event of such a line: what a library has to say is a warning at least, and mostly a defect of ours."""


@contextmanager
def adopted(logger: FilteringBoundLogger) -> Iterator[None]:
    """Within it, ``logging``, ``warnings`` and exceptions that nobody caught go to ``logger``."""
    handler, root = _Handler(logger), logging.getLogger()
    before = root.handlers[:], root.level
    hooks = sys.unraisablehook, threading.excepthook

    def unraisable(found: Any) -> None:
        what = found.err_msg or "Exception ignored in"
        logger.error(EVENT, message=f"{what}: {found.object!r}", exc_info=found.exc_value or False)

    def uncaught(found: threading.ExceptHookArgs) -> None:
        name = found.thread.name if found.thread else "a thread"
        logger.error(EVENT, message=f"an exception ended {name}", exc_info=found.exc_value or False)

    root.handlers, sys.unraisablehook, threading.excepthook = [handler], unraisable, uncaught
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = before
        sys.unraisablehook, threading.excepthook = hooks


class _Handler(logging.Handler):
    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._logger.log(
                record.levelno, EVENT, source=record.name, message=record.getMessage(),
                exc_info=record.exc_info or False,
            )  # fmt: skip
        except Exception:  # arguments that do not fit their format, say
            self._logger.error(EVENT, source=record.name, message=str(record.msg))
