"""The name of a model behind an endpoint: ``openai:URL#model``. Pure; used where it is typed and where it is called.

Nothing of a refused name that could be a secret is shown: names come into the ledger, logs and errors.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ingestd.errors import EXIT_USAGE, Misconfigured

PREFIX: Final = "openai:"

FORM: Final = "openai:http://HOST:PORT/v1#MODEL"

API_PATH: Final = "/v1"
"""Where vLLM, llama.cpp and Ollama serve this API: it is meant by a URL without a path."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``base`` has no slash at its end and no secret in it; ``model`` is empty where none was named."""

    base: str
    host: str
    tls: bool
    model: str

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, so that nobody else sees what is sent."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse(name: str) -> Endpoint:
    """Take the name apart. Raises ``Misconfigured`` (exit code 2), also for a user or a key inside the URL."""
    url, _, model = name.removeprefix(PREFIX).partition("#")
    url, model = url.strip(), model.strip()
    if "@" in url or "?" in url:
        raise _bad("an endpoint", "its URL holds a user, a password or a query", _KEYS)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _bad(f"the endpoint {url!r}", "its host or port is not valid", f"Write {FORM}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _bad(f"the endpoint {url!r}", "it is no http or https URL", f"Write {FORM}")
    if not url.isascii() or any(
        letter.isspace() or not letter.isprintable() for letter in url + model.replace(" ", "")
    ):
        raise _bad(f"the endpoint {url!r}", "it holds letters that no URL has", f"Write {FORM}")
    base = f"{parts.scheme}://{_netloc(parts, port)}{parts.path.rstrip('/') or API_PATH}"
    return Endpoint(base, parts.hostname.lower(), parts.scheme == "https", model)


_KEYS: Final = f"Write {FORM}, and give a key by INGESTD_ENDPOINT_KEY or by the setting endpoint_key_file"


def _netloc(parts: SplitResult, port: int | None) -> str:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def _bad(what: str, message: str, remedy: str) -> Misconfigured:
    return Misconfigured(message, operation="use", object=what, remedy=remedy, exit=EXIT_USAGE)
