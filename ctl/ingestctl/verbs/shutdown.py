"""``shutdown``: end the daemon."""

from __future__ import annotations

import argparse
import sys

from ingestctl import locations, rpc


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Running jobs go on by themselves when the daemon starts again (ingestctl start).\n"


def run(args: argparse.Namespace) -> int:
    from ingestctl import daemon_process

    pid = daemon_process.end()
    if pid is None:
        # What was asked for is true already, and repeating a command is no error.
        print("no daemon is running", file=sys.stderr)
        return rpc.EXIT_OK
    print(f"the daemon (pid {pid}) has ended")
    _tell_how_to_start_again()
    return rpc.EXIT_OK


def _tell_how_to_start_again() -> None:
    """For a service of the system: its user may end it, and only root may start it again."""
    from ingestctl.service.detect import start_command

    way = "" if locations.is_anothers() else start_command()
    if way.startswith("sudo "):
        print(f"it is a service of the system, which only root may start again: {way}", file=sys.stderr)
