"""``wait``: wait until a job rests, and exit with its result."""

from __future__ import annotations

import argparse
import sys

from ingestctl import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "exit codes: 0 completed, 3 completed with failed files, 1 failed or stopped, 5 paused\n\n"
        "example:\n  ingestctl start ~/Pictures && ingestctl wait && ingestctl search sunset\n"
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: the newest)")


class _NothingDrawn:
    def clear(self) -> None:
        """Nothing is drawn."""


def run(args: argparse.Namespace) -> int:
    from ingestctl.job_progress import exit_code, tell_unread, with_patience
    from ingestctl.render import result_text

    # Without a daemon at the start there is nothing to wait for; one that restarts meanwhile is waited for.
    rpc.Connection().close()
    try:
        job: dict[str, Any] = with_patience(
            lambda connection: connection.call("wait", {"job": args.job}, timeout=None), _NothingDrawn()
        )["job"]
    except KeyboardInterrupt:
        print("the job goes on; see it with: ingestctl status", file=sys.stderr)
        return rpc.EXIT_INTERRUPTED
    print(result_text(job))
    tell_unread(job)
    return exit_code(job)
