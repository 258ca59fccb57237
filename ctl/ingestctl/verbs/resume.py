"""``resume``: go on with a paused job."""

from __future__ import annotations

import argparse

from ingestctl import change_jobs


def arguments(parser: argparse.ArgumentParser) -> None:
    change_jobs.arguments(parser, "resume")


def run(args: argparse.Namespace) -> int:
    return change_jobs.run("resume", args)
