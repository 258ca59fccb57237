"""The border to the hub's library: how it is set up, and its errors as kinds that can be acted on.

What it says itself is never passed on: its texts hold addresses with signatures in them. The library is imported when
it is first needed (it costs half a second), and its HTTP client is asked for its own module: that is ``httpx`` in some
releases of the library and ``httpx2`` in others, with the same names in them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final
from urllib.parse import urlsplit

from ingestd.errors import Misconfigured
from ingestd.worker.models.hub.names import WAYS, Wanted

LONGEST_WAIT_S: Final = 60.0
"""Of a ``Retry-After``: what asks for more is left to the job, which waits without a process."""

_SETTINGS: Final = {
    # Nobody is told what runs here.
    "HF_HUB_DISABLE_TELEMETRY": True,
    "HF_HUB_DISABLE_PROGRESS_BARS": True,
}

_BUSY: Final = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed."""


class Trouble(Exception):
    """The network or the hub failed in a way that may pass. ``wait_s``: what the hub asked for, in seconds."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.wait_s = wait_s


def library() -> ModuleType:
    """``huggingface_hub``, quiet, whoever imported it first."""
    for name in _SETTINGS:
        os.environ[name] = "1"
    import huggingface_hub.utils
    from huggingface_hub import constants

    for name, value in _SETTINGS.items():
        setattr(constants, name, value)
    return huggingface_hub


def client() -> tuple[Any, Any]:
    """The library's HTTP client (proxies, certificates and the offline rule are its), and the module that it is of."""
    session = library().get_session()
    return session, sys.modules[type(session).__module__.partition(".")[0]]


def host(endpoint: str) -> str:
    """The endpoint's name for people: without what may be a password in it."""
    parts = urlsplit(endpoint)
    return f"{parts.hostname or endpoint}{f':{parts.port}' if parts.port else ''}"


@contextmanager
def translated(wanted: Wanted, endpoint: str) -> Iterator[None]:
    """Raises ``Misconfigured`` for what only a person can change, and ``Trouble`` for what may pass."""
    from huggingface_hub import errors

    _, http = client()
    at = host(endpoint)
    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise offline(wanted) from None
    except errors.HfHubHTTPError as error:
        raise _refused(wanted, at, error) from None
    except (http.UnsupportedProtocol, http.InvalidURL):
        raise refuse(wanted, f"HF_ENDPOINT is no address: {at}", "Set it to http://… or https://…") from None
    except http.TransportError as error:
        raise Trouble(_why(error, at, http)) from None


def offline(wanted: Wanted) -> Misconfigured:
    return refuse(
        wanted, "it is not on this machine, and HF_HUB_OFFLINE forbids fetching it", f"Unset HF_HUB_OFFLINE, or {WAYS}"
    )


def refuse(wanted: Wanted, message: str, remedy: str) -> Misconfigured:
    """What stops a model of the hub, in one form."""
    return Misconfigured(message, operation="fetch", object=f"the model {wanted.typed!r}", remedy=remedy)


def _refused(wanted: Wanted, at: str, error: Any) -> Exception:
    from huggingface_hub import errors

    status = error.response.status_code
    login = "log in with 'hf auth login' or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError) or status == 403:
        ask = f"Accept its terms on its page there and {login}; or {WAYS}"
        return refuse(wanted, f"{at} gives {wanted.hub_id} only to those who accepted its terms (status {status})", ask)
    if isinstance(error, errors.RevisionNotFoundError):
        pin = f"ingestctl models remove {wanted.typed}, then pull it anew" if wanted.is_commit else "Check it"
        return refuse(wanted, f"{wanted.hub_id} has no revision {wanted.revision!r} at {at}", f"{pin}, or leave it out")
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        near = ", ".join(_near(wanted))
        hint = f"Did you mean {near}? If" if near else "Check the name; if"
        return refuse(
            wanted, f"{at} has no model {wanted.hub_id}, or it is a private one", f"{hint} it is private, {login}"
        )
    if status in _BUSY:
        busy = "asks to come back later" if status == 429 else "is out of order"
        return Trouble(f"{at} {busy} (status {status})", _retry_after(error.response))
    return refuse(wanted, f"{at} answered with status {status}", f"Try later, or {WAYS}")


def _near(wanted: Wanted) -> list[str]:
    from ingestd.worker.models.hub.names import near_ids

    return near_ids(wanted.hub_id, ())


def _retry_after(response: Any) -> float | None:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None


def _why(error: Exception, at: str, http: Any) -> str:
    """A cause in words, from the exception's kind and what the system said; never its whole text."""
    said = str(error).lower()
    if "certificate" in said:
        return f"the certificate of {at} is not trusted here"
    if isinstance(error, http.ProxyError):
        return f"the proxy on the way to {at} refused"
    if isinstance(error, http.TimeoutException):
        return f"{at} did not answer in time"
    if "name or service" in said or "name resolution" in said or "nodename" in said:
        return f"the name {at} cannot be resolved: there may be no network"
    if "refused" in said:
        return f"{at} refuses connections"
    if "unreachable" in said:
        return f"there is no way to {at}: there may be no network"
    if isinstance(error, http.ConnectError):
        return f"no connection to {at} comes about"
    return f"{at} cut the connection"
