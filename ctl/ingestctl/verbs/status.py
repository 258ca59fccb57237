"""``status``: the jobs and the daemon. It is typed most, so it imports least."""

from __future__ import annotations

import json
import sys

from ingestctl import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

_EXAMPLES = """\
examples:
  ingestctl status                 every job that is not over, or the newest
  ingestctl status photos          one job
  ingestctl status --watch         live, until Ctrl-C
  ingestctl status --json | jq '.jobs[0].counts'
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: all)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="the daemon's whole reply as one JSON document")
    how.add_argument("--watch", action="store_true", help="draw it anew each second")


def run(args: argparse.Namespace) -> int:
    if args.watch:
        from ingestctl.live_status import watch

        return watch(args.job, args.color)
    reply = _reply(args.job)
    if args.json:
        print(json.dumps(reply))
    else:
        from ingestctl.render import print_status

        print_status(reply, args.color)
    return rpc.EXIT_OK


def _reply(job: str | None) -> dict[str, Any]:
    try:
        return rpc.call("status", {"job": job})
    except rpc.Away as away:
        if not away.absent:
            raise
    from ingestctl import daemon_oneshot
    from ingestctl.service.detect import start_hint

    reply = daemon_oneshot.reply("status")
    print(f"no daemon is running: this is what the ledger holds; {start_hint()}", file=sys.stderr)
    if job is not None:
        reply["jobs"] = [known for known in reply["jobs"] if job in (known["name"], known["uuid"])][:1]
        if not reply["jobs"]:
            raise rpc.CommandError(
                "there is no such job", operation="show", object=f"job {job}", remedy="list them with: ingestctl status"
            )
    return reply
