"""What a child inherits of the daemon's environment: no secret but its own, and no hub unless it fetches.

Pure: environments are passed in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from ingestd.kinds.sinks import SinkKind
from ingestd.protocol.addresses.endpoint_url import PREFIX

_SECRET: Final = re.compile(
    r"(^|_)(KEYS?|APIKEY|TOKENS?|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|PASS|PAT|CREDENTIALS?|AUTH|COOKIE)(_|$)"
    r"|(PASSWORD|APIKEY|_PWD|_DSN|CONNECTION_STRING)$",
    re.IGNORECASE,
)
"""Names of variables that hold secrets, as programs commonly call them."""

_DOORS: Final = frozenset(
    (
        *("DBUS_SESSION_BUS_ADDRESS", "SSH_AGENT_PID", "GPG_AGENT_INFO", "XAUTHORITY", "DISPLAY", "WAYLAND_DISPLAY"),
        *("DOCKER_HOST", "KUBECONFIG", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"),
    )
)
"""Names that lead to somebody who acts for the user, and the service manager's line to the daemon alone."""

_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s@]+@")
"""A token may stand before the ``@`` without a name."""

PROXIES: Final = frozenset(
    name
    for base in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY", "NO_PROXY")
    for name in (base, base.lower())
)

HUB: Final = frozenset(("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_ENDPOINT")) | PROXIES
"""What fetching a model from a hub may need."""

ENDPOINT: Final = frozenset(("INGESTD_ENDPOINT_KEY",)) | PROXIES
"""What speaking to an endpoint may need."""

_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}

_QUIET: Final = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def of_child(environ: Mapping[str, str], keep: Collection[str], *, online: bool) -> dict[str, str]:
    """The environment of a child that needs the secrets named in ``keep`` and no other.

    ``online``: it may ask a model hub, with a token where one is kept; any other is told that there is none.
    """
    needed = {*keep, *(HUB if online else ())}
    kept = {name: value for name, value in environ.items() if name in needed or not _is_secret(name, value)}
    if online:
        return kept | {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    return kept | _QUIET | _OFFLINE


def of_models(models: Iterable[str]) -> frozenset[str]:
    """The secrets that running these models needs: an endpoint's, or none."""
    return ENDPOINT if any(model.startswith(PREFIX) for model in models) else frozenset()


def of_sinks(kinds: Iterable[SinkKind]) -> frozenset[str]:
    """The secrets that sinks of these kinds need, and the proxies of those that connect to anything."""
    kinds = list(kinds)
    named = frozenset(name for kind in kinds for name in kind.secrets)
    return named | PROXIES if any(kind.networked for kind in kinds) else named


def may_fetch(models: Iterable[str]) -> bool:
    """Whether one of these models may have to come from a hub: none that ships with us, lies in a folder or is served
    by an endpoint does."""
    here = ("", "none", "builtin")
    return any(not (model in here or model.startswith(("/", PREFIX))) for model in models)


def proxy_ports(environ: Mapping[str, str]) -> list[int]:
    """The TCP ports of the proxies that the environment names."""
    return [port_of(environ[name]) for name in PROXIES - {"NO_PROXY", "no_proxy"} if environ.get(name)]


def port_of(url: str) -> int:
    """The TCP port of a URL, by its scheme where it names none; 0 where that is not known."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        return parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return 0


def _is_secret(name: str, value: str) -> bool:
    return name in _DOORS or _SECRET.search(name) is not None or _PASSWORD_IN_URL.search(value) is not None
