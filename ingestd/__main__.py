"""``ingestd``: run the daemon, or with ``--oneshot VERB`` answer what needs none."""

from __future__ import annotations

import argparse
import os
import sys

from ingestd import __version__, paths
from ingestd.errors import EX_USAGE, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_OK, IngestError


def arguments() -> argparse.ArgumentParser:
    """What the command line may hold; the manual page is made from it."""
    parser = argparse.ArgumentParser(
        prog="ingestd",
        description="The daemon. People talk to it with ingestctl; ingestctl start begins one by itself.",
    )
    parser.add_argument("--version", action="version", version=f"ingestd {__version__}")
    parser.add_argument(
        "--oneshot", choices=("status", "config", "models", "doctor"), help="print one answer as JSON, without a daemon"
    )
    parser.add_argument(
        "--launchd", action="store_true", help="exit with 0 where a restart would not help, as launchd wants it"
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """The console script. Exit codes: 0, or those of ``errors`` (``EX_*`` for the daemon); sentences go to stderr."""
    parser = arguments()
    try:
        options = parser.parse_args()
        if options.words and not options.oneshot:
            parser.error(f"it takes no words: {' '.join(options.words)}")
    except SystemExit as stop:  # argparse has said why
        return EX_USAGE if stop.code else EXIT_OK
    try:
        if options.oneshot:
            from ingestd.oneshot import answer

            return answer(options.oneshot, options.words)
        return _serve(options.launchd)
    except IngestError as error:
        print(error.complaint(), file=sys.stderr)
        return error.exit or EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _serve(launchd: bool) -> int:
    from ingestd import daemon
    from ingestd.catalogue_file import known_kinds
    from ingestd.settings_file import load

    places = paths.places()
    os.umask(0o077)
    return daemon.begin(
        places, lambda: load(places, known_kinds(places.state)), terminal=sys.stderr.isatty(), launchd=launchd
    )


if __name__ == "__main__":
    sys.exit(main())
