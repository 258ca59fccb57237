"""The address of a Qdrant server as a person types it after ``--sink qdrant:``. Pure, standard library alone.

``http://host:6333``, ``https://…`` (REST, a path prefix allowed), ``grpc://host:6334`` and ``grpcs://…`` (TLS), with
``?collection=NAME`` and ``insecure=yes``. The daemon refuses a bad one at ``start``; the sink process uses it.

A URL ends up in the ledger, in logs and in ``status``, so it never holds a secret: credentials in it are refused, and
no message here repeats a part of a URL in which one could hide.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from ingestd.errors import EXIT_USAGE, Misconfigured

PORTS: Final = {"http": 6333, "https": 6333, "grpc": 6334, "grpcs": 6334}
"""Schemes and the ports that Qdrant itself listens on; its own client takes them too, also for ``https``."""

MAX_NAME: Final = 200
"""Bytes of a collection's name. Qdrant allows 255 and makes a folder of the name, with suffixes."""

_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
"""What Qdrant refuses in the name of a new collection, and the rest of the control characters."""

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_KEY_REMEDY: Final = "Put the key into INGESTD_QDRANT_KEY or into a file, and leave it out of the URL"
_FORM: Final = "Write it as http://host:6333, https://host:6333 or grpc://host:6334"


class Server(NamedTuple):
    """A server and what to use there. ``prefix`` begins with ``/`` or is empty; ``collection`` is None unless named."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    collection: str | None = None
    insecure: bool = False

    @property
    def tls(self) -> bool:
        """Whether what travels is encrypted and the server has to prove its name."""
        return self.scheme in ("https", "grpcs")

    @property
    def grpc(self) -> bool:
        """Whether it is spoken to in gRPC instead of REST."""
        return self.scheme in ("grpc", "grpcs")

    @property
    def loopback(self) -> bool:
        """Whether it is this machine: what is sent there crosses no network."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    @property
    def authority(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without its options, for messages."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


def parse(text: str) -> Server:
    """Read a URL. Raises ``Misconfigured`` (exit code 2) with a sentence for everything that is not of the form."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise _wrong("it holds a space or a character that no URL has", _FORM)
    scheme, found, rest = text.partition("://")
    if "@" in text:
        raise _wrong("it holds credentials (or an @), and a URL is shown in status and logs", _KEY_REMEDY)
    if not found or scheme.lower() not in PORTS:
        raise _wrong(f"it begins with none of {', '.join(f'{known}://' for known in PORTS)}", _FORM)
    scheme = scheme.lower()
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _wrong("its host or its port cannot be read", _FORM) from None
    if not _is_host(host):
        raise _wrong("its host is missing, or is no name and no address", _FORM)
    if port == 0:
        raise _wrong("no server has the port 0", _FORM)
    if parts.fragment or text.endswith("#"):
        raise _wrong("nothing can follow a #", _FORM)
    prefix = parts.path.rstrip("/")
    if prefix and scheme.startswith("grpc"):
        raise _wrong("gRPC knows no path after the host", "Leave the path out, or use https://")
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", prefix) or "/./" in f"{prefix}/" or "/../" in f"{prefix}/":
        raise _wrong("its path is not a plain prefix such as /qdrant", "Give the path under which the server answers")
    collection, insecure = _options(parts.query)
    return Server(scheme, host, port or PORTS[scheme], prefix, collection, insecure)


def refuse_key(server: Server) -> None:
    """Raises ``Misconfigured`` when a key would cross a network unencrypted and nobody has said that it may."""
    if server.tls or server.loopback or server.insecure:
        return
    raise Misconfigured(
        "the key would cross the network in plain text",
        operation="send the API key to",
        object=server.shown,
        remedy=f"Use {'grpcs' if server.grpc else 'https'}://, or add ?insecure=yes where the network is trusted",
        exit=EXIT_USAGE,
    )


def collection_name(server: Server, store: str) -> str:
    """The collection to use: the one that the URL names, else ``store`` (``NAME-<fingerprint>``) made fit for Qdrant.

    A store's last part tells vectors apart, so a long name is cut before it.
    """
    if server.collection is not None:
        return server.collection
    name, dash, mark = _FORBIDDEN.sub("-", store).rpartition("-")
    tail = f"-{mark}" if dash else ""
    room = max(0, MAX_NAME - len(tail.encode(errors="replace")))
    fit = (name if dash else mark).encode(errors="replace")[:room].decode(errors="ignore")
    return f"{fit.lstrip('. ') or 'ingestd'}{tail}"


def _options(query: str) -> tuple[str | None, bool]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise _wrong("what follows its ? is not of the form name=value", _OPTIONS) from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in ("collection", "insecure"):
            raise _wrong("it has an option that is not known", f"{_OPTIONS}. {_KEY_REMEDY}")
        if name in found:
            raise _wrong(f"it has the option {name} twice", _OPTIONS)
        found[name] = value
    if found.get("insecure", "no") not in ("yes", "no"):
        raise _wrong("insecure is neither yes nor no", _OPTIONS)
    collection = found.get("collection")
    if collection is not None and not _is_collection(collection):
        raise _wrong(
            "Qdrant takes no such name for a collection",
            f'Use 1 to {MAX_NAME} bytes without < > : " / \\ | ? * and control characters',
        )
    return collection, found.get("insecure") == "yes"


_OPTIONS: Final = "The options are ?collection=NAME and insecure=yes, joined by &"


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return "%" not in host and bool(ipaddress.IPv6Address(host))
        except ValueError:
            return False
    return 0 < len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))


def _is_collection(name: str) -> bool:
    fits = 0 < len(name.encode(errors="replace")) <= MAX_NAME and name.strip() == name
    return fits and name not in (".", "..") and not _FORBIDDEN.search(name)


def _wrong(message: str, remedy: str) -> Misconfigured:
    """The text itself is left out: what is no good URL may be anything, a key in the wrong place included."""
    return Misconfigured(
        message, operation="use", object="the URL of the Qdrant server", remedy=remedy, exit=EXIT_USAGE
    )
