"""``search``: find photos by text, or by an image that they should be like."""

from __future__ import annotations

import argparse
import json
import sys

from ingestctl import argument_values, rpc
from ingestctl.terminal_text import clean, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Prints score, path and description, best first; all paths of a photo with --json.\n\n"
        "examples:\n  ingestctl search a cat on a sofa\n"
        "  ingestctl search snow --since 2023-12 --until 2024-02 --n 50\n"
        "  ingestctl search --like ~/Pictures/cat.jpg\n"
        "  ingestctl search birthday --path ~/Pictures/2024 --json | jq -r '.groups[].hits[].path'\n"
    )
    parser.add_argument("text", nargs="*", metavar="TEXT", help="what to look for, in words")
    parser.add_argument("--like", metavar="IMAGE", help="look for what is like this image file")
    parser.add_argument("--n", type=argument_values.count, metavar="N", help="how many (default: 10)")
    parser.add_argument("--path", metavar="FOLDER", help="only below this folder")
    parser.add_argument("--since", metavar="DATE", help="taken on or after: 2024, 2024-05, 2024-05-17 or RFC 3339")
    parser.add_argument("--until", metavar="DATE", help="taken on or before; a year, month or day is meant whole")
    parser.add_argument("--job", help="only in this job (default: in every job that can be searched)")
    parser.add_argument("--json", action="store_true", help="the daemon's reply as one JSON document")


def run(args: argparse.Namespace) -> int:
    since, until = argument_values.since(args.since), argument_values.until(args.until)
    if since and until and since > until:
        raise rpc.usage(
            f"{args.since} is after {args.until}",
            operation="search",
            object="between these dates",
            remedy="exchange --since and --until",
        )
    if bool(args.text) == (args.like is not None):
        raise rpc.usage(
            "give words or --like IMAGE, and not both" if args.text else "there is nothing to look for",
            operation="search",
            object="the photos",
            remedy="ingestctl search a cat, or: ingestctl search --like cat.jpg",
        )
    folder = None if args.path is None else argument_values.expand_home(args.path)
    params = {
        "text": " ".join(args.text),
        "n": args.n,
        "job": args.job,
        "path": None if folder is None else argument_values.wire_path(folder),
        "since": since,
        "until": until,
    }
    if args.like is not None:
        params["like"] = argument_values.wire_path(argument_values.expand_home(args.like))
    reply = rpc.call("search", params, timeout=None, patience="the store or the model is being opened …")
    if args.json:
        print(json.dumps(reply))
        return rpc.EXIT_OK
    groups = reply["groups"]
    for index, group in enumerate(groups):
        if len(groups) > 1:
            jobs = ", ".join(clean(job) for job in group["jobs"])
            print(f"{chr(10) if index else ''}{jobs} ({clean(group['model'])})")
        for hit in group["hits"]:
            more = f"  (+{many(hit['paths_total'] - 1, 'copy', 'copies')})" if hit["paths_total"] > 1 else ""
            path = hit["path"] if folder is None else _inside(hit, folder)
            digits = 3 if group["order"] == "cosine" else 4  # ranks are worth a sixtieth and less
            print(f"{hit['score']:.{digits}f}  {clean(path)}  {clean(hit['description'])}{more}".rstrip())
    sys.stdout.flush()
    if not any(group["hits"] for group in groups):
        print("nothing found", file=sys.stderr)
    for group in groups:
        if group["lag"]:
            jobs = ", ".join(clean(job) for job in group["jobs"])
            print(f"Note: {jobs}: {many(group['lag'], 'change')} not searchable yet", file=sys.stderr)
    for note in reply["notes"]:
        print(f"Note: {clean(note)}", file=sys.stderr)
    return rpc.EXIT_OK


def _inside(hit: dict[str, Any], folder: str) -> str:
    """The path below ``folder``, of a photo that has several copies."""
    above = argument_values.absolute(folder).decode("utf-8", "replace").rstrip("/") + "/"
    inside: str = next((path for path in hit["paths"] if path.startswith(above)), hit["path"])
    return inside
