"""``remove``: forget a job that does not run, with its stores."""

from __future__ import annotations

import argparse

from ingestctl import rpc
from ingestctl.terminal_text import clean, many


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  ingestctl stop photos && ingestctl remove photos\n"
    parser.add_argument("job", metavar="JOB", help="a job's name or uuid; it must not run")


def run(args: argparse.Namespace) -> int:
    reply = rpc.call("remove", {"job": args.job}, timeout=None, patience="removing …")
    print(f"{clean(reply['name'])}: removed, {many(reply['freed_items'], 'item')} forgotten")
    for kept in reply["kept"]:
        print(f"  kept  {clean(kept)}")
    return rpc.EXIT_OK
