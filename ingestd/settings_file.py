"""The settings in force: ``config.toml`` is read here, so that ``config`` stays without I/O."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ingestd import config, paths
from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.kinds import catalogue
from ingestd.kinds.steps import StepKind


def load(places: paths.Places, kinds: Mapping[str, StepKind] | None = None) -> config.Settings:
    """Every setting with its source. ``kinds``: of steps, each with a key; those of the catalogue where none are given.

    Raises ``Misconfigured`` for a file or a value that cannot be used.
    """
    known = catalogue.read(places.state).step_kinds if kinds is None else kinds
    return config.load(os.environ, _text(places), str(places.config), known)


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
