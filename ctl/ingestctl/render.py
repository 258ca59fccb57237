"""A job's status as a person reads it: lines of text from the daemon's reply, with or without colour."""

from __future__ import annotations

import sys
import time

from ingestctl.terminal_text import (
    Paint,
    ago,
    bar,
    clean,
    clock,
    duration,
    many,
    number,
    paint_for,
    percent,
    size,
    span,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ACTIVE = ("queued", "running", "waiting", "paused")
"""Statuses of a job that is not over."""

REST = ("completed", "failed", "stopped", "paused")
"""Statuses in which a job stays until somebody does something; ``wait`` ends here."""

_STYLES = {
    "running": "green",
    "completed": "green",
    "queued": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
    "failed": "red",
    "stopped": "dim",
}
_BAR_CELLS = 30
_LABEL = 14
_SCAN_ERRORS = 3
_OLDER_JOBS = 20


def print_status(reply: dict[str, Any], color: str) -> None:
    """Print a status reply on stdout; ``color`` is what ``--color`` says."""
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    print("\n".join(status_lines(reply, paint_for(sys.stdout, color), plain=plain)))


def status_lines(reply: dict[str, Any], paint: Paint, *, plain: bool = False) -> list[str]:
    """Everything ``status`` shows: jobs that are not over (or the newest) in full, the others in a line each.

    ``plain``: no block characters, for a terminal that cannot show them.
    """
    now = time.time()
    jobs = reply["jobs"]
    full = [job for job in jobs if job["status"] in ACTIVE] or jobs[:1]
    rest = [job for job in jobs if job not in full]
    lines = []
    for job in full:
        lines += [*job_lines(job, paint, now, plain=plain), ""]
    if rest:
        lines += [paint("bold", "earlier jobs")]
        lines += [f"  {_brief(job, paint, now)}" for job in rest[:_OLDER_JOBS]]
        if len(rest) > _OLDER_JOBS:
            lines.append(f"  and {number(len(rest) - _OLDER_JOBS)} more (all of them: ingestctl status --json)")
        lines.append("")
    if not jobs:
        lines += ["no jobs yet; make one with: ingestctl start FOLDER", ""]
    return lines + daemon_lines(reply["daemon"], paint, now)


def daemon_lines(daemon: dict[str, Any], paint: Paint, now: float) -> list[str]:
    """The daemon: version, pid, how long it runs, memory, disk, its log."""
    facts = [f"ingestd {clean(daemon['version'])}"]
    if daemon["pid"]:
        facts += [f"pid {daemon['pid']}", f"up {duration(now - daemon['started'])}"]
    if daemon["memory_bytes"]:
        facts.append(f"memory {size(daemon['memory_bytes'])}")
    if daemon["ledger_bytes"]:
        facts.append(f"ledger {size(daemon['ledger_bytes'])}")
    lines = [paint("dim", ", ".join(facts)), paint("dim", f"log {clean(daemon['log'])}")]
    if daemon.get("log_dropped"):
        lines.append(paint("yellow", f"{many(daemon['log_dropped'], 'log line')} lost: nothing took them"))
    if power := daemon.get("power"):
        lines = [paint(style, text) for style, text in power_lines(power)] + lines
    if daemon.get("trouble"):
        lines.insert(0, paint("red", clean(daemon["trouble"]) + "; it is tried again, nothing is lost"))
    return lines


def power_lines(power: dict[str, Any]) -> list[tuple[str, str]]:
    """Style and text of the lines about sleep and the lid; none while nothing works."""
    if not power["wanted"] or power["method"] == "off":
        return []
    held = ", ".join(clean(what) for what in power["held"] if what != "handle-lid-switch")
    refused = [one for one in power["refused"] if one["what"] != "handle-lid-switch"]
    lines = [("dim", f"kept awake while it works: {held} held off")] if held else []
    if refused:
        names, last = ", ".join(clean(one["what"]) for one in refused), refused[-1]
        but = f" ({held} is)" if held else ""
        lines = [("yellow", f"{names} not held off{but}: {clean(last['why'])}. {clean(last['remedy'])}")]
    if power["lid"] and power["lid"] != "this machine has no lid":
        lines.append(("dim", clean(power["lid"])))
    return lines


def job_lines(job: dict[str, Any], paint: Paint, now: float, *, plain: bool = False) -> list[str]:
    """One job in full."""
    counts = job["counts"]
    lines = [f"{paint('bold', clean(job['name']))}  {_state(job, paint)}"]
    if job["percent"] is not None:
        so_far = " so far" if job["so_far"] else ""
        lines.append(f"  {bar(job['percent'] / 100, _BAR_CELLS, plain)}  {percent(job['percent'])}{so_far}")
    lines.append(f"  {counts_text(counts)}")
    pace = pace_text(job, now)
    if pace:
        lines.append(f"  {pace}")

    def row(label: str, value: str) -> None:
        lines.append("  " + paint("dim", label.ljust(_LABEL)) + value)

    for index, source in enumerate(job["sources"]):
        row("" if index else "sources", clean(source))
    if job["limit"] is not None:
        row("limit", f"{many(job['limit'], 'item')} (the rest: start it again without --limit)")
    skipped = job["scan"]["skipped"] or {}
    if counts["skipped"]:
        kinds = sorted(skipped.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{number(n)} {clean(kind)}" for kind, n in kinds)
        row("skipped", told or number(counts["skipped"]))
    for line in _scan_lines(job["scan"]):
        row("scan", line)
    for step in job["steps"]:
        failed = f", {paint('red', number(step['failed']) + ' failed')}" if step["failed"] else ""
        model = f"  {paint('dim', clean(step['model']))}" if step["model"] and step["model"] != step["kind"] else ""
        row(clean(step["kind"]), f"{number(step['done'])} done{failed}{model}")
    for sink in job["sinks"]:
        row(f"sink {sink_name(sink)}", _sink(sink, paint))
    if job.get("disk") and job["status"] in ACTIVE:
        needed, free = size(job["disk"]["needed"]), size(job["disk"]["free"])
        row("disk", f"{needed} were still to come after the first items, {free} free")
    for worker in job["workers"]:
        given = f"{many(worker['items'], 'item')}, {number(worker['window'])} at hand"
        row("worker", f"pid {worker['pid']}, batch {number(worker['batch'])}: {clean(worker['state'])}, {given}")
    if job["last_failure"]:
        last = job["last_failure"]
        said = f"{clean(last['kind'])}, {ago(now - last['at'])}: {clean(last['message'])}"
        # What it was comes first: a screen that is too narrow cuts the end, and paths are long.
        row("last failure", paint("red", said))
        row("", clean(last["path"]))
    for index, item in enumerate(job["last_items"]):
        row("" if index else "last items", f"{paint('dim', _item(item, now))}  {clean(item['path'])}")
    return lines


def sink_name(sink: dict[str, Any]) -> str:
    """What a sink is called in a line that shows its place: of a server, the place is the URL."""
    return clean(sink["kind"].removesuffix("-server"))


def counts_text(counts: dict[str, Any]) -> str:
    """``120 of 250 done, 5 failed, 125 to do`` and so on, without those that are zero."""
    parts = [f"{number(counts['done'])} of {number(counts['found'])} done"]
    for key, words in (
        ("failed", "failed"),
        ("pending", "to do"),
        ("running", "in work"),
        ("suspect", "suspect"),
        ("gone", "gone"),
    ):
        if counts[key]:
            parts.append(f"{number(counts[key])} {words}")
    return ", ".join(parts)


def pace_text(job: dict[str, Any], now: float) -> str:
    """Rate, forecast, age of the last commit: those that are known."""
    parts = []
    if job["rate_per_hour"]:
        parts.append(f"{number(round(job['rate_per_hour']))} an hour")
    if job["eta"]:
        more = " or more (still scanning)" if job["so_far"] else ""
        parts.append(f"{span(job['eta']['low'], job['eta']['high'])} left{more}")
    if job["last_commit_age"] is not None:
        # The daemon measured the age with its own clock: the client's may differ, and the machine may have slept.
        parts.append(f"last commit {ago(job['last_commit_age'])}")
    return ", ".join(parts)


def result_text(job: dict[str, Any]) -> str:
    """One line when a job rests."""
    counts = job["counts"]
    reason = f" ({clean(job['reason'])})" if job["reason"] else ""
    return f"{clean(job['name'])}: {job['status']}{reason}, {counts_text(counts)}"


def _state(job: dict[str, Any], paint: Paint) -> str:
    words = paint(_STYLES.get(job["status"], ""), job["status"])
    if job["phase"] and job["phase"] != job["status"]:
        words += f", {clean(job['phase'])}"
    if job["reason"]:
        words += f": {clean(job['reason'])}"
    if job["status"] == "paused" and job["actor"]:
        words += f" (by {clean(job['actor'])}, {clock(job['changed'])})"
    if job["until"] is not None:
        words += f" until {clock(job['until'])}"
    return words


def _brief(job: dict[str, Any], paint: Paint, now: float) -> str:
    state = paint(_STYLES.get(job["status"], ""), job["status"])
    return f"{clean(job['name'])}  {state} {ago(now - job['changed'])}, {counts_text(job['counts'])}"


def _sink(sink: dict[str, Any], paint: Paint) -> str:
    lag = "up to date" if not sink["lag"] else f"{number(sink['lag'])} behind"
    words = f"{lag}, {clean(sink['state'])}" if sink["lag"] or sink["state"] not in ("idle", "delivering") else lag
    if sink["message"]:
        words += f": {clean(sink['message'])}"
    return f"{paint('red', words) if sink['state'] == 'trouble' else words}  {paint('dim', clean(sink['place']))}"


def _scan_lines(scan: dict[str, Any]) -> list[str]:
    """What is worth saying of the scan: that it goes on, or what it could not read."""
    lines = []
    if scan["state"] == "running":
        lines.append(f"going on, {number(scan['found'])} found so far")
    elif scan["state"] == "owed":
        lines.append("not begun")
    elif scan["state"] == "partial":
        lines.append("complete but for folders that could not be read")
    elif scan["state"] == "limited":
        lines.append("ended at the limit")
    errors = scan["errors"]
    lines += [": ".join(clean(str(value)) for value in error.values()) for error in errors[:_SCAN_ERRORS]]
    if len(errors) > _SCAN_ERRORS:
        lines.append(f"and {number(len(errors) - _SCAN_ERRORS)} more")
    return lines


def _item(item: dict[str, Any], now: float) -> str:
    return f"{clean(item['state'])}, {ago(now - item['at'])}"
