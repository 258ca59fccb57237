"""The way to a Qdrant server: the client, the key, trust and time-outs; and what its errors mean for a sink.

Everything that the client library raises is translated here, REST and gRPC alike, so that the sink knows a few kinds
only. The key is read by this process, sent in a header and named nowhere: it is taken out of every text that leaves.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from ingestd.errors import IngestError, Misconfigured, Unavailable
from ingestd.protocol.addresses.qdrant_url import Server, refuse_key
from ingestd.sinks.base import AskedToWait

KEY_VARIABLE: Final = "INGESTD_QDRANT_KEY"
MAX_KEY: Final = 8192
"""Bytes of a key: a JWT with long claims has some thousand; a header of more is refused by most servers."""

CONNECT_S: Final = 10
"""Seconds for a connection. A host that drops packets must not make the process deaf for as long as a slow write."""

WRITE_S = 60
"""Whole seconds for an answer to a write: with ``wait=true`` it comes when the points are applied, and a server that
rebuilds its segments lets them queue."""

SEARCH_S: Final = 8
"""Seconds for an answer to a search; the daemon gives the whole way 10."""

KEEP_S: Final = 3.0
"""Seconds that an idle connection is used again. Qdrant closes one after 5; a request sent just then is lost."""

IN_FLIGHT: Final = 2

T = TypeVar("T")


class Absent(Exception):
    """The server has no such collection."""


class Rejected(Exception):
    """The server takes this request as it is for wrong; ``too_big``: it is too long."""

    def __init__(self, message: str, *, too_big: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.too_big = too_big


def read_key(key_file: str, environ: Mapping[str, str]) -> str:
    """The API key from ``key_file``, else from ``INGESTD_QDRANT_KEY``; empty when there is none.

    Raises ``Misconfigured`` for a file that cannot be read and for what cannot be a key; it never shows any of it.
    """
    if not key_file:
        return _checked(environ.get(KEY_VARIABLE, ""), KEY_VARIABLE)
    try:
        with open(key_file, "rb") as file:
            data = file.read(MAX_KEY + 1)
    except OSError as error:
        raise Misconfigured(
            (error.strerror or "it cannot be read").lower(),
            operation="read the API key in",
            object=key_file,
            remedy="Name a file that this user can read",
        ) from None
    key = _checked(data.decode("latin-1"), key_file)
    if not key:
        raise Misconfigured(
            "the file is empty", operation="read the API key in", object=key_file, remedy="Put the key into it"
        )
    return key


def _checked(text: str, place: str) -> str:
    key = text.strip()
    if key.isascii() and (key.isprintable() and " " not in key) and len(key) <= MAX_KEY:
        return key
    raise Misconfigured(
        "what it holds is no key: one line of printable characters without spaces is needed",
        operation="read the API key in",
        object=place,
        remedy="Put the key alone there",
    ) from None


class ServerConnection:
    """A connection to ``server`` for one collection. Making one sends nothing.

    ``first``: nothing was delivered there so far, so an answer that no Qdrant gives, or a certificate that is not
    trusted, is a mistake in the URL (``Misconfigured``); later it is a proxy or a hotel's network, which passes.
    """

    def __init__(self, server: Server, collection: str, key: str, *, first: bool) -> None:
        if key:
            refuse_key(server)
        self._key = key
        self.first = first
        self._shown = server.shown
        self.collection = collection
        self.client = _client(server, key)

    @property
    def object(self) -> str:
        """What errors are about."""
        return f"the collection {self.collection} at {self._shown}"

    def close(self) -> None:
        """Drop the connections."""
        self.client.close()

    def call(self, operation: str, ask: Callable[[QdrantClient], T]) -> T:
        """What ``ask`` answers. ``operation`` is a verb for errors.

        Raises ``Unavailable`` (``AskedToWait`` where the server says for how long), ``Misconfigured``, ``Absent``
        or ``Rejected``; after an ``Unavailable`` that is no ``AskedToWait`` a write may have been applied or not.
        """
        try:
            return ask(self.client)
        except Exception as error:
            raise self._translated(error, operation) from None

    def say(self, text: str) -> str:
        """A foreign text as part of a message: one line, not long, and without the key."""
        line = " ".join(text.split())
        if self._key:
            line = line.replace(self._key, "(the key)")
        return line[:300]

    def unavailable(self, message: str, operation: str, remedy: str = "") -> Unavailable:
        """The error for a server that may come right by itself."""
        remedy = remedy or "Check that the server runs and can be reached; delivery goes on by itself"
        return Unavailable(message, operation=operation, object=self.object, remedy=remedy)

    def misconfigured(self, message: str, operation: str, remedy: str) -> Misconfigured:
        """The error for what a person must change."""
        return Misconfigured(message, operation=operation, object=self.object, remedy=remedy)

    def _translated(self, error: Exception, operation: str) -> Exception:
        match error:
            case IngestError() | Absent() | Rejected():
                return error
            case ResourceExhaustedResponse():
                return self._busy(operation, float(error.retry_after_s))
            case QdrantException():  # a Retry-After that is a date
                return self._busy(operation, 0)
            case UnexpectedResponse():
                return self._answered(error.status_code or 0, error.content, operation)
            case ResponseHandlingException(source=httpx.HTTPError() as source):
                return self._unheard(source, operation)
            case grpc.RpcError():
                return self._called(error, operation)
            case ResponseHandlingException() | ValueError() | AssertionError():
                return self._foreign("its answer is none that a Qdrant server gives", operation)
        return error

    def _answered(self, status: int, content: bytes, operation: str) -> Exception:
        """The meaning of an HTTP status; a body of Qdrant's form says more than the status."""
        said = _said(content)
        words = f"the server answers {status}" + (f": {self.say(said)}" if said else "")
        match status:
            case 401 | 403:
                return self._forbidden(words, operation)
            case 404 if said is not None:
                return Absent(words)
            case 429:
                return self._busy(operation, 0)
            case 413:
                return Rejected(words, too_big=True)
            case 400 | 409 | 422 if said is not None:
                return Rejected(words, too_big="exceeded limit" in said)
            case _ if status >= 500 or status == 408:
                return self.unavailable(words, operation)
        return self._foreign(f"it answers {status}, and not as a Qdrant server does", operation)

    def _called(self, error: grpc.RpcError, operation: str) -> Exception:
        """The meaning of a gRPC status."""
        code: grpc.StatusCode = error.code()
        said = str(error.details() or "")
        words = f"the server answers {code.name.lower()}" + (f": {self.say(said)}" if said else "")
        match code:
            case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
                return self._forbidden(words, operation)
            case grpc.StatusCode.NOT_FOUND:
                return Absent(words)
            case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" not in said:
                return self._busy(operation, 0)
            case grpc.StatusCode.OUT_OF_RANGE | grpc.StatusCode.RESOURCE_EXHAUSTED:
                return Rejected(words, too_big=True)
            case (
                grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.FAILED_PRECONDITION | grpc.StatusCode.ALREADY_EXISTS
            ):
                return Rejected(words)
            case grpc.StatusCode.UNIMPLEMENTED:
                return self._foreign("it answers gRPC, and not as a Qdrant server does", operation)
            case grpc.StatusCode.UNAVAILABLE if "CERTIFICATE_VERIFY_FAILED" in said:
                return self._untrusted("its certificate is not trusted", operation)
            case grpc.StatusCode.UNAVAILABLE if "Connection refused" in said:
                return self.unavailable("connection refused", operation)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return self.unavailable(f"no answer within {WRITE_S} seconds", operation)
        return self.unavailable(words, operation)

    def _unheard(self, error: httpx.HTTPError, operation: str) -> Exception:
        """The meaning of a request without an answer."""
        causes = list(_causes(error))
        for cause in causes:
            match cause:
                case ssl.SSLCertVerificationError():
                    return self._untrusted(f"its certificate is not trusted ({cause.verify_message})", operation)
                case ssl.SSLError() if isinstance(error, httpx.ConnectError):
                    return self._untrusted("it does not speak TLS as this machine does", operation)
                case ConnectionRefusedError():
                    return self.unavailable("connection refused", operation)
                case socket.gaierror():
                    return self.unavailable("its name is not known here", operation)
        match error:
            case httpx.ConnectTimeout():
                return self.unavailable(f"no connection within {CONNECT_S} seconds", operation)
            case httpx.TimeoutException():
                return self.unavailable("no answer in time", operation)
            case httpx.ConnectError():
                why = next((c.strerror for c in reversed(causes) if isinstance(c, OSError) and c.strerror), "")
                return self.unavailable(self.say(why.lower() or "no connection"), operation)
        return self.unavailable("the connection was cut", operation)

    def _busy(self, operation: str, seconds: float) -> AskedToWait:
        return AskedToWait(
            "the server asks for fewer requests",
            operation=operation,
            object=self.object,
            remedy="Delivery goes on by itself",
            seconds=seconds,
        )

    def _forbidden(self, words: str, operation: str) -> Misconfigured:
        have = "another key" if self._key else "the server's API key"
        places = f"the file that qdrant_key_file names, or into {KEY_VARIABLE} before the daemon starts"
        remedy = f"Put {have} into {places}, and start the job again"
        return self.misconfigured(words, operation, remedy)

    def _foreign(self, message: str, operation: str) -> IngestError:
        remedy = "Check the URL: its scheme, its port (6333 is REST, 6334 gRPC) and its path"
        if self.first:
            return self.misconfigured(message, operation, remedy)
        return self.unavailable(message, operation, f"{remedy}, and what stands between; delivery goes on by itself")

    def _untrusted(self, message: str, operation: str) -> IngestError:
        remedy = "Name the authority that signed it in SSL_CERT_FILE (a PEM file) before the daemon starts"
        if self.first:
            return self.misconfigured(message, operation, remedy)
        return self.unavailable(message, operation, f"{remedy}, or renew it; delivery goes on by itself")


def _client(server: Server, key: str) -> QdrantClient:
    options: dict[str, Any] = {
        # A proxy cannot reach this machine's loopback, and would see the key.
        "trust_env": not server.loopback,
        "limits": httpx.Limits(max_keepalive_connections=IN_FLIGHT, keepalive_expiry=KEEP_S),
        "event_hooks": {"request": [_connect_in_time]},
    }
    grpc_options: dict[str, Any] = {"grpc.enable_http_proxy": int(not server.loopback)}
    if server.tls:
        options["verify"] = _trust()
        if roots := os.environ.get("SSL_CERT_FILE"):
            grpc_options["root_certificates"] = _read_roots(roots)
    scheme = "https" if server.tls else "http"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Api key is used with an insecure connection": refuse_key has decided that
        return QdrantClient(
            url=f"{scheme}://{server.authority}{server.prefix}",
            grpc_port=server.port,
            prefer_grpc=server.grpc,
            api_key=key or None,
            timeout=WRITE_S,
            grpc_options=grpc_options,
            check_compatibility=False,  # it asks from a thread of its own, and warns to nobody
            **options,
        )


def _connect_in_time(request: httpx.Request) -> None:
    request.extensions["timeout"]["connect"] = CONNECT_S


def _trust() -> ssl.SSLContext:
    """The system's authorities, or those of ``SSL_CERT_FILE``; where the system names none, the client's own."""
    paths = ssl.get_default_verify_paths()
    return ssl.create_default_context() if paths.cafile or paths.capath else httpx.create_ssl_context()


def _read_roots(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Misconfigured(
            (error.strerror or "it cannot be read").lower(),
            operation="read the authorities in",
            object=path,
            remedy="Name a PEM file in SSL_CERT_FILE, or unset it",
        ) from None


def _said(content: bytes) -> str | None:
    """Qdrant's own words in the body of an error; None when it is no Qdrant that speaks."""
    try:
        status = json.loads(content)["status"]
        return str(status["error"]) if isinstance(status, dict) else None
    except (ValueError, KeyError, TypeError):
        return None


def _causes(error: BaseException) -> list[BaseException]:
    cause = error.__cause__ or error.__context__
    return [error, *(_causes(cause) if cause else ())]
