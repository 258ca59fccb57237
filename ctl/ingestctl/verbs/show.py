"""``show``: everything known about one file."""

from __future__ import annotations

import argparse
import json
import time

from ingestctl import argument_values, rpc
from ingestctl.terminal_text import ago, clean, clock, many, number, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n  ingestctl show IMG_0001.JPG\n  ingestctl show ~/Pictures/cat.jpg --json | jq .items[0].results\n"
    )
    parser.add_argument("path", metavar="PATH", help="a file, as it lies in a source")
    parser.add_argument("--job", help="only in this job (default: in every job that has it)")
    parser.add_argument("--json", action="store_true", help="the daemon's reply as one JSON document")


def run(args: argparse.Namespace) -> int:
    reply = rpc.call("show", {"path": argument_values.wire_path(args.path), "job": args.job})
    print(json.dumps(reply) if args.json else "\n\n".join("\n".join(_shown(item)) for item in reply["items"]))
    return rpc.EXIT_OK


def _shown(item: dict[str, Any]) -> list[str]:
    lines = [f"{clean(item['path'])}  {item['state']}, job {clean(item['job'])}"]

    def row(label: str, value: str) -> None:
        lines.append(f"  {clean(label):<12}{value}")

    facts = [size(item["size"])]
    if item["format"]:
        facts.append(clean(item["format"]))
    if item["width"] and item["height"]:
        facts.append(f"{item['width']} × {item['height']}")
    row("file", f"{', '.join(facts)}, changed {clock(item['mtime'])}, {many(item['attempts'], 'attempt')}")
    if item["sha256"]:
        row("sha256", item["sha256"])
    for kind, body in item["results"].items():
        pairs = body.items() if isinstance(body, dict) else [("", body)]
        for index, (key, value) in enumerate(pairs):
            text = _words(value)
            row("" if index else kind, f"{clean(str(key))}: {clean(text)}" if key else clean(text))
    now = time.time()
    for failure in item["failures"]:
        where = f"{clean(failure['kind'])} in {clean(failure['stage'])} for {clean(failure['step'])}"
        row("failed", f"{where}, {ago(now - failure['at'])}: {clean(failure['message'])}")
        if failure["remedy"]:
            row("", clean(failure["remedy"]))
    for index, copy in enumerate(item["copies"]):
        row("" if index else "copies", clean(copy))
    if item["copies_total"] > len(item["copies"]):
        row("", f"and {number(item['copies_total'] - len(item['copies']))} more")
    return lines


def _words(value: Any) -> str:
    """A value of a result as text: tags with their scores, anything else that is no text as JSON."""
    if isinstance(value, str):
        return value
    if (
        isinstance(value, list)
        and value
        and all(isinstance(one, dict) and {*one} == {"label", "score"} for one in value)
    ):
        return ", ".join(f"{one['label']} {one['score']:.2f}" for one in value)
    return json.dumps(value, ensure_ascii=False)
