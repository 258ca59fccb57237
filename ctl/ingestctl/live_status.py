"""``status --watch``: the status, redrawn each second by rich, also while the daemon restarts."""

from __future__ import annotations

import sys
import time

from ingestctl import rpc
from ingestctl.render import status_lines
from ingestctl.terminal_text import Paint, duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rich.console import ConsoleRenderable

EVERY_S = 1.0
ANSWER_S = 10.0
"""A daemon that is silent for so long is shown as away; the screen says so rather than standing still."""


def watch(job: str | None, color: str) -> int:
    """Draw until Ctrl-C; the exit code is 130 then. Raises ``CommandError`` when the daemon has nothing to watch."""
    if not sys.stdout.isatty():
        raise rpc.usage(
            "stdout is no terminal",
            operation="watch",
            object="the status",
            remedy="leave out --watch, or follow a job line by line with: ingestctl start SOURCE --follow",
        )
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        raise rpc.CommandError(
            "the package rich is not installed",
            operation="watch",
            object="the status",
            remedy=f"{sys.executable} -m pip install rich",
        ) from None
    # Asked once before the screen is taken: without a daemon there is nothing to survive.
    connection: rpc.Connection | None = rpc.Connection()
    console = Console(no_color=color == "never" or None, force_terminal=True)
    reply: dict[str, Any] = {}
    away_since = 0.0
    try:
        with Live(console=console, screen=True, auto_refresh=False, transient=True) as live:
            while True:
                begun = time.monotonic()
                try:
                    connection = connection or rpc.Connection()
                    reply = connection.call("status", {"job": job}, timeout=ANSWER_S)
                    away_since = 0.0
                except rpc.CommandError as failure:
                    # An error of the daemon's (no such job) ends it; silence and absence do not.
                    if not isinstance(failure, rpc.Away) and failure.exit != rpc.EXIT_TEMPORARY:
                        raise
                    away_since = away_since or begun
                    if connection is not None:
                        connection.close()
                    connection = None
                live.update(_screen(reply, away_since, console.no_color), refresh=True)
                time.sleep(max(0.0, EVERY_S - (time.monotonic() - begun)))
    except KeyboardInterrupt:
        print("the jobs go on; look again with: ingestctl status --watch", file=sys.stderr)
        return rpc.EXIT_INTERRUPTED
    finally:
        if connection is not None:
            connection.close()


def _screen(reply: dict[str, Any], away_since: float, no_color: bool) -> ConsoleRenderable:
    from rich.text import Text

    paint = Paint(not no_color)
    lines = status_lines(reply, paint) if reply else []
    if away_since:
        away = duration(time.monotonic() - away_since)
        lines = [paint("yellow", f"the daemon is away for {away}; waiting for it (Ctrl-C leaves)"), "", *lines]
    else:
        lines.append(paint("dim", "drawn anew each second; Ctrl-C leaves, the jobs go on"))
    # Names may be longer than the screen is wide: cut there, or the lines below would be pushed off it.
    return Text.from_ansi("\n".join(lines), no_wrap=True, overflow="ellipsis")
