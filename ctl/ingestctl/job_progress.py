"""Progress of one job until it rests: a bar on a terminal, a line per interval in a pipe."""

from __future__ import annotations

import sys
import time

from ingestctl import rpc
from ingestctl.render import REST, counts_text, pace_text, result_text
from ingestctl.terminal_text import bar, clean, columns, cut, many, number, percent, span, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POLL_S = 0.5
INTERVAL_S = 5.0
"""Between lines in a pipe."""

AWAY_S = 30.0
"""How long a daemon may be away before following gives up: a restart takes a second, a slow disk some more."""

_BAR_CELLS = 24


def exit_code(job: dict[str, Any]) -> int:
    """What ``wait`` and ``start --follow`` exit with for a job that rests."""
    if job["status"] == "completed":
        return rpc.EXIT_FAILED_ITEMS if job["counts"]["failed"] else rpc.EXIT_OK
    return rpc.EXIT_TEMPORARY if job["status"] == "paused" else rpc.EXIT_ERROR


def follow(uuid: str, first: dict[str, Any]) -> int:
    """Show the job's progress until it rests; its exit code. ``first`` is its status at the start.

    Ctrl-C and a closed pipe end the display alone.
    """
    view: _JobBar | _JobLines = _JobBar() if sys.stdout.isatty() else _JobLines()
    name = clean(first["name"])
    try:
        job = _until_rest(uuid, first, view)
        view.end(job)
    except (KeyboardInterrupt, BrokenPipeError) as reason:
        view.clear()
        detached(name)
        if isinstance(reason, BrokenPipeError):
            raise
        return rpc.EXIT_INTERRUPTED
    if job["counts"]["failed"]:
        print(f"which, and why: ingestctl failed {name}", file=sys.stderr)
    tell_unread(job)
    return exit_code(job)


def tell_unread(job: dict[str, Any]) -> None:
    """Say how many folders the scan could not read: they are no failed items, and the job completed."""
    unread = len(job["scan"]["errors"])
    if unread and job["status"] == "completed":
        what = many(unread, "place in its sources", "places in its sources")
        print(f"Note: {what} could not be read; which, and why: ingestctl status {clean(job['name'])}", file=sys.stderr)


def detached(name: str) -> None:
    """Say that the job goes on, and only the display has ended."""
    print(f"the job {name} goes on; see it with: ingestctl status {name}", file=sys.stderr)


def with_patience(ask: Any, view: Any) -> Any:
    """``ask(connection)`` on a new connection, repeated while the daemon is away, for ``AWAY_S`` at most."""
    since: float | None = None
    while True:
        try:
            with rpc.Connection() as connection:
                if since is not None:
                    view.clear()
                    print("the daemon is back", file=sys.stderr)
                    since = None
                return ask(connection)
        except rpc.Away:
            now = time.monotonic()
            if since is None:
                since = now
                view.clear()
                print(f"the daemon is away; waiting up to {AWAY_S:.0f} s for it", file=sys.stderr)
            if now - since > AWAY_S:
                raise
            time.sleep(0.25)


def _until_rest(uuid: str, job: dict[str, Any], view: _JobBar | _JobLines) -> dict[str, Any]:
    def look(connection: rpc.Connection) -> dict[str, Any]:
        nonlocal job
        while job["status"] not in REST:
            time.sleep(POLL_S)
            job = connection.call("status", {"job": uuid})["jobs"][0]
            view.show(job)
        return job

    view.show(job)
    result: dict[str, Any] = with_patience(look, view)
    return result


class _JobBar:
    """One line of a terminal, redrawn in place."""

    def __init__(self) -> None:
        self._plain = "utf" not in (sys.stdout.encoding or "").lower()
        self._drawn = False

    def show(self, job: dict[str, Any]) -> None:
        sys.stdout.write(f"\r\x1b[K{self.line(job, columns(sys.stdout) - 1)}")
        sys.stdout.flush()
        self._drawn = True

    def line(self, job: dict[str, Any], cells: int) -> str:
        """As much as fits: what matters least is left out first."""
        counts = job["counts"]
        done = counts["done"] + counts["failed"]
        part = job["percent"]
        words = [cut(clean(job["name"]), max(8, cells // 4))]
        if part is not None:
            words.append(bar(part / 100, min(_BAR_CELLS, cells // 6), self._plain))
            words.append(percent(part) + (" so far" if job["so_far"] else ""))
        words.append(f"{number(done)}/{number(counts['found'])}")
        if job["status"] != "running":
            words.append(job["status"] + (f": {clean(job['reason'])}" if job["reason"] else ""))
        elif job["phase"] not in ("working", "running"):
            words.append(clean(job["phase"]))
        if counts["failed"]:
            words.append(f"{number(counts['failed'])} failed")
        if job["eta"]:
            words.append(f"{span(job['eta']['low'], job['eta']['high'])} left")
        if job["rate_per_hour"]:
            words.append(f"{number(round(job['rate_per_hour']))}/h")
        while len(words) > 2 and width("  ".join(words)) > cells:
            words.pop()
        return cut("  ".join(words), cells)

    def clear(self) -> None:
        if self._drawn:
            try:
                sys.stdout.write("\r\x1b[K")
                sys.stdout.flush()
            except BrokenPipeError:
                pass  # the terminal is gone, and the line with it
            self._drawn = False

    def end(self, job: dict[str, Any]) -> None:
        self.clear()
        print(result_text(job), flush=True)


class _JobLines:
    """A line per interval, and one at the end."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, job: dict[str, Any]) -> None:
        now = time.monotonic()
        if now < self._next or job["status"] in REST:
            return
        self._next = now + INTERVAL_S
        part = "" if job["percent"] is None else f"{percent(job['percent'])}{' so far' if job['so_far'] else ''}, "
        phase = job["phase"] or job["status"]
        reason = f" ({clean(job['reason'])})" if job["reason"] else ""
        pace = pace_text(job, time.time())
        words = f"{clean(job['name'])}: {clean(phase)}{reason}, {part}{counts_text(job['counts'])}"
        print(f"{words}, {pace}" if pace else words, flush=True)

    def clear(self) -> None:
        """Nothing to take back."""

    def end(self, job: dict[str, Any]) -> None:
        print(result_text(job), flush=True)
