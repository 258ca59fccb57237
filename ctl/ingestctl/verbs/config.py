"""``config``: every setting, its value and where that comes from."""

from __future__ import annotations

import argparse
import json
import sys

from ingestctl import locations, rpc
from ingestctl.terminal_text import clean


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A flag wins over INGESTD_… in the environment, that over the file, that over the default.\n"
        "The places are no settings: they follow from INGESTD_HOME and the platform.\n"
    )
    parser.add_argument("--json", action="store_true", help="the daemon's reply and the places as one JSON document")


def run(args: argparse.Namespace) -> int:
    try:
        reply = rpc.call("config", {})
    except rpc.Away as away:
        if not away.absent:
            raise
        from ingestctl import daemon_oneshot

        reply = daemon_oneshot.reply("config")
        print("no daemon is running: this is what one would start with", file=sys.stderr)
    places = {
        "state": locations.state(),
        "socket": locations.socket(),
        "log": locations.log_file(),
        "file": locations.config(),
    }
    if args.json:
        print(json.dumps(reply | {"places": places}))
        return rpc.EXIT_OK
    rows = [[clean(row[key]) for key in ("key", "value", "source")] for row in reply["rows"]]
    widths = [max([len(row[i]) for row in rows], default=0) for i in (0, 1)]
    widths[0] = max(widths[0], *map(len, places))
    for key, value, source in rows:
        print(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    print()
    for key, value in places.items():
        print(f"{key:<{widths[0]}}  {clean(value)}")
    return rpc.EXIT_OK
