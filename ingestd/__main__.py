"""``ingestd``: run the daemon, or with ``--oneshot VERB`` answer what needs none."""

from __future__ import annotations

import argparse
import os
import sys

from ingestd import __version__, paths
from ingestd.errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, IngestError, Misconfigured


def main() -> int:
    """The console script. Exit codes: 0, or those of ``errors``; an error's sentences go to stderr."""
    parser = argparse.ArgumentParser(
        prog="ingestd",
        description="The daemon. People talk to it with ingestctl; ingestctl start begins one by itself.",
    )
    parser.add_argument("--version", action="version", version=f"ingestd {__version__}")
    parser.add_argument(
        "--oneshot", choices=("status", "config", "models"), help="print one answer as JSON, without a daemon"
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.oneshot:
            from ingestd.oneshot import answer

            return answer(options.oneshot, options.words)
        return _serve()
    except IngestError as error:
        print(f"Error: cannot {error.operation} {error.object}: {error.message}", file=sys.stderr)
        print(f"Try: {error.remedy}", file=sys.stderr)
        return error.exit or EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _serve() -> int:
    import anyio

    from ingestd import config, daemon

    places = paths.places()
    settings = config.load(os.environ, read_config(places), str(places.config))
    os.umask(0o077)

    async def run() -> None:
        await daemon.serve(places, settings, terminal=sys.stderr.isatty())

    anyio.run(run, backend="asyncio")
    return 0


def read_config(places: paths.Places) -> str | None:
    """The text of ``config.toml``, or None when there is none. Raises ``Misconfigured`` when it cannot be read."""
    try:
        return places.config.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else "it is not text in UTF-8") or str(error)
        raise Misconfigured(
            why, operation="read", object=f"the configuration in {places.config}",
            remedy="Mend the file, or move it away", exit=EXIT_USAGE,
        ) from error  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
