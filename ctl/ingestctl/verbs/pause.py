"""``pause``: let the images in the model finish, then free memory and processor."""

from __future__ import annotations

import argparse

from ingestctl import change_jobs


def arguments(parser: argparse.ArgumentParser) -> None:
    change_jobs.arguments(parser, "pause")


def run(args: argparse.Namespace) -> int:
    return change_jobs.run("pause", args)
