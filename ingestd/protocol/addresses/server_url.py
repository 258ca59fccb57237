"""The address of a server as a person types it, for a kind of sink that has no form of its own. Pure.

A URL ends up in the ledger, in logs and in ``status``, so it never holds a secret: credentials and queries are refused,
and no message here repeats a part of the URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from ingestd.errors import EXIT_USAGE, Misconfigured


class ServerAddress(NamedTuple):
    """``path`` begins with ``/`` or is empty."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """For messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def parse(text: str, schemes: Mapping[str, int]) -> ServerAddress:
    """Read a URL of one of ``schemes`` (scheme → the port that it means). Raises ``Misconfigured`` (exit code 2)."""
    form = f"Write {' or '.join(f'{scheme}://HOST:PORT' for scheme in schemes)}"
    if not text.isascii() or not text.isprintable() or " " in text:
        raise _wrong("it holds a space or a character that no URL has", form)
    if "@" in text or "?" in text or "#" in text:
        raise _wrong("it holds credentials, a query or a #", f"{form}, and give a key by the environment or a file")
    scheme, found, rest = text.partition("://")
    scheme = scheme.lower()
    if not found or scheme not in schemes:
        raise _wrong("it begins with no scheme that this sink knows", form)
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _wrong("its host or its port cannot be read", form) from None
    if not host or port == 0:
        raise _wrong("its host is missing, or its port is 0", form)
    return ServerAddress(scheme, host, port or schemes[scheme], parts.path.rstrip("/"))


def _wrong(message: str, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="use", object="the URL of the sink", remedy=remedy, exit=EXIT_USAGE)
