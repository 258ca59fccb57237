"""What ``pause``, ``resume`` and ``stop`` have in common: they change one job's status, or that of every active job."""

from __future__ import annotations

import argparse
import sys

from ingestctl import rpc
from ingestctl.terminal_text import clean


def arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """One job, or ``--all``; the default is the one active job."""
    parser.epilog = f"examples:\n  ingestctl {verb}\n  ingestctl {verb} photos\n  ingestctl {verb} --all\n"
    parser.add_argument("job", nargs="?", metavar="JOB", help="a job's name or uuid (default: the one active job)")
    parser.add_argument("--all", action="store_true", help="every active job")


def run(verb: str, args: argparse.Namespace) -> int:
    """Ask for ``verb`` and print each job's status once it has taken effect; its exit code.

    A job that had that status before is no error: repeating a command is allowed.
    """
    if args.job and args.all:
        raise rpc.usage(
            "they exclude each other", operation=verb, object="a JOB and --all", remedy=f"ingestctl {verb} --all"
        )
    params = {"job": args.job, "all": args.all, "actor": rpc.actor()}
    reply = rpc.call(verb, params, timeout=None, patience=rpc.FINISHING)
    for job in reply["jobs"]:
        print(f"{clean(job['name'])}: {'' if job['changed'] else 'was already '}{job['status']}")
    if not reply["jobs"]:
        print(f"there is no job to {verb}", file=sys.stderr)
    return rpc.EXIT_OK
