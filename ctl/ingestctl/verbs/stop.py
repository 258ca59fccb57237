"""``stop``: end a job; unlike a paused one, it does not go on."""

from __future__ import annotations

import argparse

from ingestctl import change_jobs


def arguments(parser: argparse.ArgumentParser) -> None:
    change_jobs.arguments(parser, "stop")


def run(args: argparse.Namespace) -> int:
    return change_jobs.run("stop", args)
