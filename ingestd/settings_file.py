"""The settings in force: ``config.toml`` is read here, so that ``config`` stays without I/O."""

from __future__ import annotations

import os

from ingestd import config, paths
from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds import catalogue


def load(places: paths.Places, kinds: catalogue.Catalogue | None = None) -> config.Settings:
    """Every setting with its source; kinds of steps and sinks have keys too. ``kinds``: None for those that were
    written down last.

    Raises ``Misconfigured`` for a file or a value that cannot be used.
    """
    known = catalogue.read(places.state) if kinds is None else kinds
    return config.load(os.environ, _text(places), str(places.config), known.step_kinds, known.sink_kinds)


def _text(places: paths.Places) -> str | None:
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
