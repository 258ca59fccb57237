"""``models list|pull|remove``: the models on this machine, with or without a running daemon."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing

from ingestctl import argument_values, rpc
from ingestctl.daemon_oneshot import lines
from ingestctl.terminal_text import bar, clean, columns, cut, duration, percent, size, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INTERVAL_S = 5.0
"""Between lines in a pipe."""

_BAR_CELLS = 24
_SHORT_COMMIT = 12

_RATE_S = 20.0
"""Seconds over which the rate is measured: what came before an interruption says nothing about the rest."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A job fetches its models by itself. pull does it before, with its progress; what was cut short goes on where\n"
        "it was. Models lie in the cache that other programs of the hub use, too (HF_HOME, HF_HUB_CACHE).\n\n"
        "examples:\n  ingestctl models list\n  ingestctl models pull smolvlm:500m\n"
        "  ingestctl models pull google/siglip2-base-patch16-224\n  ingestctl models remove smolvlm:500m\n"
    )
    parser.add_argument("action", choices=("list", "pull", "remove"), metavar="list|pull|remove")
    parser.add_argument("name", nargs="?", metavar="NAME", help="a short name, or a hub id (ORG/NAME[@REVISION])")
    parser.add_argument("--force", action="store_true", help="remove it although a job that is not over uses it")
    parser.add_argument("--json", action="store_true", help="one JSON document; for pull, one a line as it goes on")


def run(args: argparse.Namespace) -> int:
    if (args.name is None) != (args.action == "list"):
        lacks = "it needs the NAME of a model" if args.name is None else "it takes no NAME"
        raise rpc.usage(lacks, operation="run", object=f"models {args.action}", remedy="ingestctl models --help")
    if args.force and args.action != "remove":
        raise rpc.usage(
            "--force is for remove", operation="run", object=f"models {args.action}", remedy="ingestctl models --help"
        )
    if args.action == "list":
        return _list(args.json)
    name = argument_values.model(args.name)
    return _pull(name, args.json) if args.action == "pull" else _remove(name, args.force, args.json)


def _list(as_json: bool) -> int:
    with closing(lines("models", "list")) as answers:
        reply = next(answers)["models"]
    if as_json:
        print(json.dumps(reply))
        return rpc.EXIT_OK
    rows = [_row(row) for row in reply["models"]]
    heads = ["NAME", "FOR", "SIZE", "REVISION", "FOLDER"]
    widths = [max(width(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        cells = [cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    print(f"fetched into {clean(reply['cache'])}; fetch one with: ingestctl models pull NAME", file=sys.stderr)
    return rpc.EXIT_OK


def _row(row: dict[str, Any]) -> list[str]:
    bytes_ = "" if row["size"] is None else size(row["size"])
    place = clean(row["folder"] or "ships with ingestd")
    if row["state"] == "absent":
        bytes_, place = f"about {bytes_}" if bytes_ else "", f"not here ({clean(row['hub_id'])})"
    elif row["state"] == "partly":
        place = "here in part; pull goes on with it"
    return [clean(row["name"]), ", ".join(row["kinds"]), bytes_, (row["revision"] or "")[:_SHORT_COMMIT], place]


def _pull(name: str, as_json: bool) -> int:
    view = _FetchSilent() if as_json else _FetchBar() if sys.stdout.isatty() else _FetchLines()
    try:
        with closing(lines("models", "pull", name)) as answers:
            for answer in answers:
                if as_json:
                    print(json.dumps(answer), flush=True)
                elif "planned" in answer:
                    print(_plan(answer["planned"]), flush=True)
                elif "fetching" in answer:
                    view.show(answer["fetching"])
                elif "pulled" in answer:
                    view.clear()
                    print(_pulled(answer["pulled"]), flush=True)
    except rpc.CommandError:
        view.clear()
        raise
    except KeyboardInterrupt:
        view.clear()
        print(
            f"interrupted; what has come stays: ingestctl models pull {clean(name)} goes on from there", file=sys.stderr
        )
        return rpc.EXIT_INTERRUPTED
    return rpc.EXIT_OK


def _plan(plan: dict[str, Any]) -> str:
    """How much will be fetched, and the free disk, said before anything is fetched."""
    left = size(plan["total"] - plan["here"]) if plan["total"] else "an unknown number of bytes"
    of = f" of {size(plan['total'])}, {size(plan['here'])} are here already" if plan["here"] else ""
    what = f"{clean(plan['model'])} is {clean(plan['hub_id'])} at {plan['revision'][:_SHORT_COMMIT]}"
    return f"{what}: {left} to fetch{of}; {size(plan['free'])} free in {clean(plan['cache'])}"


def _pulled(pulled: dict[str, Any]) -> str:
    how = f"{size(pulled['fetched'])} fetched" if pulled["fetched"] else "it was here already"
    return f"{clean(pulled['model'])} is here ({how}): {clean(pulled['folder'])}"


def _remove(name: str, force: bool, as_json: bool) -> int:
    with closing(lines("models", "remove", name, *(["force"] if force else []))) as answers:
        removed = next(answers)["removed"]
    if as_json:
        print(json.dumps(removed))
        return rpc.EXIT_OK
    print(f"{clean(removed['model'])} ({clean(removed['hub_id'])}) is removed: {size(removed['freed'])} freed")
    for note in removed["notes"]:
        print(f"Note: {clean(note)}", file=sys.stderr)
    return rpc.EXIT_OK


class _FetchRate:
    """Bytes a second over the last ``_RATE_S``."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []

    def words(self, told: dict[str, Any]) -> list[str]:
        """``120 MB of 1.0 GB``, the rate, the time left: those that are known."""
        now = time.monotonic()
        done, total = told["done"], told["total"]
        if not done and not total:
            return ["asking the hub"]
        self._seen = [(at, was) for at, was in self._seen if at > now - _RATE_S] + [(now, done)]
        words = [f"{size(done)} of {size(total)}" if total else size(done)]
        since, was = self._seen[0]
        if now - since > 1 and done > was:
            rate = (done - was) / (now - since)
            words.append(f"{size(rate)}/s")
            if total:
                words.append(f"{duration((total - done) / rate)} left")
        return words


class _FetchSilent:
    def show(self, told: dict[str, Any]) -> None:
        """The lines themselves are printed."""

    def clear(self) -> None:
        """Nothing to take back."""


class _FetchBar(_FetchSilent):
    """One line of a terminal, redrawn in place."""

    def __init__(self) -> None:
        self._plain = "utf" not in (sys.stdout.encoding or "").lower()
        self._pace = _FetchRate()
        self._drawn = False

    def show(self, told: dict[str, Any]) -> None:
        cells = columns(sys.stdout) - 1
        words = self._pace.words(told)
        if told["total"]:
            part = told["done"] / told["total"]
            words = [bar(part, min(_BAR_CELLS, cells // 4), self._plain), percent(100 * part), *words]
        while len(words) > 1 and width("  ".join(words)) > cells:
            words.pop()
        sys.stdout.write(f"\r\x1b[K{cut('  '.join(words), cells)}")
        sys.stdout.flush()
        self._drawn = True

    def clear(self) -> None:
        if self._drawn:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
            self._drawn = False


class _FetchLines(_FetchSilent):
    """A line per interval."""

    def __init__(self) -> None:
        self._pace = _FetchRate()
        self._next = 0.0

    def show(self, told: dict[str, Any]) -> None:
        words = self._pace.words(told)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + INTERVAL_S
            print(f"{clean(told['model'])}: {', '.join(words)}", flush=True)
