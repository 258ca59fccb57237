"""``failed``: which files failed, why, and what to do."""

from __future__ import annotations

import argparse
import json
import sys

from ingestctl import rpc
from ingestctl.terminal_text import clean, many, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PAGE = 500
"""Rows that are asked for at a time, the daemon's most."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "One line a file: kind, path, message. What to do about each kind is said at the end, on stderr.\n\n"
        "examples:\n  ingestctl failed\n  ingestctl failed photos --kind corrupt\n"
        "  ingestctl failed --json | jq -r .path\n"
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: the newest)")
    parser.add_argument(
        "--json", action="store_true", help="one JSON document a line, one line a file, with all details"
    )
    parser.add_argument(
        "--kind", help="only this kind: unreadable, unsupported, corrupt, too_large, empty, changed, model …"
    )


def run(args: argparse.Namespace) -> int:
    after, told, job = 0, 0, args.job
    remedies: dict[str, str] = {}
    with rpc.Connection() as connection:
        while True:
            page = connection.call("failed", {"job": job, "kind": args.kind, "after": after, "limit": _PAGE})
            # Pages of one job, even when a newer one begins meanwhile.
            job, told = page["job"], told + len(page["rows"])
            for row in page["rows"]:
                if args.json:
                    print(json.dumps(row))
                else:
                    print(_failed_line(row))
                    remedies.setdefault(row["kind"], row["remedy"])
            if page["next"] is None:
                break
            after = page["next"]
    sys.stdout.flush()
    if not args.json:
        of_kind = f" of kind {args.kind}" if args.kind else ""
        print(f"{clean(job)}: {many(told, 'failed file')}{of_kind}", file=sys.stderr)
        for kind, remedy in remedies.items():
            if remedy:
                print(f"  {clean(kind)}: {clean(remedy)}", file=sys.stderr)
    return rpc.EXIT_OK


def _failed_line(row: dict[str, Any]) -> str:
    tries = "" if row["attempts"] == 1 else f" ({number(row['attempts'])} attempts)"
    return f"{clean(row['kind']):<12}{clean(row['path'])}  {clean(row['message'])}{tries}"
