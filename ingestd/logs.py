"""Where log lines go: JSON lines into a rotated file; readable ones on a terminal. No caption text goes into a log."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any, Final

import structlog
from structlog.typing import FilteringBoundLogger

ROTATE_BYTES: Final = 20 * 1024 * 1024
KEEP: Final = 5


def open_log(path: Path, level: str, terminal: bool) -> FilteringBoundLogger:
    """The daemon's logger. ``terminal``: also print readable lines on stderr."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(path, maxBytes=ROTATE_BYTES, backupCount=KEEP, encoding="utf-8")
    file.setFormatter(_formatter(structlog.processors.JSONRenderer(ensure_ascii=False)))
    handlers: list[logging.Handler] = [file]
    if terminal:
        shown = logging.StreamHandler(sys.stderr)
        shown.setFormatter(_formatter(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())))
        handlers.append(shown)
    root = logging.getLogger("ingestd")
    root.handlers, root.propagate = handlers, False
    root.setLevel(level.upper())
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: root,
        cache_logger_on_first_use=True,
    )
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


_SHARED: Final[list[Any]] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def _formatter(renderer: Any) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    )
