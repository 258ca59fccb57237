"""The text of ``config.toml``, read from disk. What the text means is ``config``'s."""

from __future__ import annotations

from ingestd import paths
from ingestd.errors import EXIT_USAGE, Misconfigured


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
