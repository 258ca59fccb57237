"""``retry``: try failed files again."""

from __future__ import annotations

import argparse
import os
import sys

from ingestctl import argument_values, rpc
from ingestctl.terminal_text import clean, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A first word without a slash that is no file here is the JOB; write a file as ./file to be sure.\n"
        "Files without a JOB are tried again in every job in which they failed.\n\n"
        "examples:\n  ingestctl retry\n  ingestctl retry photos --kind model\n  ingestctl retry ./IMG_0001.JPG\n"
    )
    parser.add_argument(
        "words", nargs="*", metavar="[JOB] PATH", help="only these files (default: all that failed in the newest job)"
    )
    parser.add_argument("--kind", help="only failures of this kind, as 'ingestctl failed' names it")


def run(args: argparse.Namespace) -> int:
    words = list(args.words)
    job = words.pop(0) if words and "/" not in words[0] and not os.path.isfile(words[0]) else None
    given = [argument_values.wire_path(path) for path in words]
    jobs = _where_failed(given) if given and job is None else [(job, given)]
    for chosen, files in jobs:
        retried, reply = 0, {}
        for paths in _portions(files):
            reply = rpc.call("retry", {"job": chosen, "kind": args.kind, "paths": paths}, timeout=None)
            retried += reply["retried"]
        result = f"{many(retried, 'failed file')} to be tried again, {reply['job']['status']}"
        print(f"{clean(reply['job']['name'])}: {result}")
    if not jobs:
        print("none of these files has failed: there is nothing to try again", file=sys.stderr)
    return rpc.EXIT_OK


def _where_failed(paths: list[Any]) -> list[tuple[str | None, list[Any]]]:
    """Jobs by uuid, stopped ones left out, each with those of ``paths`` that failed in it.

    Raises ``CommandError`` for a path that no job knows.
    """
    found: dict[str | None, list[Any]] = {}
    with rpc.Connection() as connection:
        known = connection.call("status", {})["jobs"]
        living = {job["name"]: job["uuid"] for job in known if job["status"] != "stopped"}
        for path in paths:
            for item in connection.call("show", {"path": path})["items"]:
                if item["state"] == "failed" and item["job"] in living:
                    found.setdefault(living[item["job"]], []).append(path)
    return list(found.items())


def _portions(paths: list[Any]) -> list[list[Any]]:
    """Paths in lists that each fit into one request, for ``xargs`` gives thousands; one empty list for none."""
    portions: list[list[Any]] = [[]]
    room = rpc.MAX_LINE // 2
    for path in paths:
        # A byte is at most six characters of JSON.
        cost = 6 * len(path["b64"] if isinstance(path, dict) else path.encode()) + 16
        if cost > room and portions[-1]:
            portions.append([])
            room = rpc.MAX_LINE // 2
        portions[-1].append(path)
        room -= cost
    return portions
