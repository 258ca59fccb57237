"""``summary``: success rate, failures by kind, seconds per item, batches, memory and processor of a job."""

from __future__ import annotations

import argparse
import json

from ingestctl import rpc
from ingestctl.terminal_text import clean, duration, many, number, percent, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  ingestctl summary\n  ingestctl summary photos --json | jq .phases\n"
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: the newest)")
    parser.add_argument("--json", action="store_true", help="the daemon's reply as one JSON document")


def run(args: argparse.Namespace) -> int:
    reply = rpc.call("summary", {"job": args.job})
    print(json.dumps(reply) if args.json else "\n".join(summary_lines(reply)))
    return rpc.EXIT_OK


def summary_lines(reply: dict[str, Any]) -> list[str]:
    """The summary as lines of text."""
    from ingestctl.render import result_text

    job, batches = reply["job"], reply["batches"]
    lines = [result_text(job)]

    def row(label: str, value: str) -> None:
        lines.append(f"  {label:<12}{value}")

    rate = reply["success_rate"]
    row("success", "nothing has been tried yet" if rate is None else f"{percent(100 * rate)} of what was tried")
    contents = many(reply["contents"], "distinct content")
    row("contents", f"{contents}, {many(reply['attempts'], 'attempt')}, {number(job['reused'])} reused without a model")
    if reply["failures"]:
        kinds = sorted(reply["failures"].items(), key=lambda pair: -pair[1])
        row("failures", ", ".join(f"{number(count)} {clean(kind)}" for kind, count in kinds))
    if reply["odd"]:
        words = {"cut": "cut by the token limit", "loop": "going in circles"}
        kinds = sorted(reply["odd"].items(), key=lambda pair: -pair[1])
        row(
            "odd",
            "descriptions " + ", ".join(f"{clean(words.get(kind, kind))} {number(count)}" for kind, count in kinds),
        )
    died = f" ({number(batches['died'])} died)" if batches["died"] else ""
    row("batches", f"{number(batches['count'])}{died}, {duration(batches['load_ms_mean'] / 1000)} to load, on average")
    row("memory", f"{size(batches['peak_bytes'])} in the largest worker")
    cores = f" ({batches['cpu_s'] / reply['active_s']:.1f} cores)" if reply["active_s"] > 0 else ""
    row("time", f"{duration(batches['cpu_s'])} of processor in {duration(reply['active_s'])} of work{cores}")
    if reply["phases"]:
        heads = ("mean", "median", "min", "max", "p99", "items")
        lines += ["", "  seconds per item" + "".join(f"{head:>10}" for head in heads)]
        for phase, times in reply["phases"].items():
            cells = [_seconds(times[f"{head}_ms"]) for head in heads[:-1]]
            lines.append(f"    {clean(phase):<14}" + "".join(f"{cell:>10}" for cell in [*cells, number(times["n"])]))
    return lines


def _seconds(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    return f"{seconds:.4f}" if seconds < 1 else f"{seconds:.2f}"
