"""Where the daemon's socket, state and log lie: the rule of ``ingestd.paths``, repeated without ``pathlib``.

A test holds the two equal under every kind of environment. The rule is no configuration key: client and daemon find
each other by the environment alone.
"""

from __future__ import annotations

import os
import sys

MAX_SOCKET_PATH = 100
"""Bytes; the same as in ``ingestd.paths``, where the reason is given."""


def state() -> str:
    """The state folder: ledger, spool, stores."""
    return _folders()[0]


def chosen() -> str | None:
    """The socket of somebody else's daemon, as ``INGESTD_SOCKET`` names it: whoever may only look has no other rule."""
    path = os.environ.get("INGESTD_SOCKET")
    return os.path.abspath(os.path.expanduser(path)) if path else None


def is_anothers() -> bool:
    """Whether ``INGESTD_SOCKET`` names another daemon than the one whose folders this client finds by itself."""
    path = chosen()
    return path is not None and os.path.realpath(path) != os.path.realpath(own_socket())


def is_named() -> bool:
    """Whether a person said which daemon is meant: it may be another user's then."""
    return bool(os.environ.get("INGESTD_SOCKET") or os.environ.get("INGESTD_HOME"))


def socket() -> str:
    """The control socket of the daemon that is meant."""
    return chosen() or own_socket()


def own_socket() -> str:
    """The control socket of this user's daemon; a path too long for ``sun_path`` moves to the runtime folder under a
    hash."""
    path = _folders()[1] + "/ingestd.sock"
    raw = os.fsencode(path)
    if len(raw) <= MAX_SOCKET_PATH:
        return path
    from hashlib import sha256

    return _tidy(f"{_runtime_base()}/ingestd-{sha256(raw).hexdigest()[:16]}/ingestd.sock")


def log() -> str:
    """The folder of the daemon's log."""
    return _folders()[2]


def log_file() -> str:
    """The daemon's log."""
    return _folders()[2] + "/ingestd.log"


def config() -> str:
    """The configuration file, which need not exist."""
    return _folders()[3]


def _folders() -> tuple[str, str, str, str]:
    """State, run, log, configuration file."""
    home = os.environ.get("INGESTD_HOME")
    if home:
        base = os.path.abspath(os.path.expanduser(home))
        return _tidy(f"{base}/state"), _tidy(f"{base}/run"), _tidy(f"{base}/log"), _tidy(f"{base}/config.toml")
    user = os.path.expanduser("~")
    if sys.platform == "darwin":
        support = _tidy(f"{user}/Library/Application Support/ingestd")
        return support, support + "/run", _tidy(f"{user}/Library/Logs/ingestd"), support + "/config.toml"
    here = _tidy((os.environ.get("XDG_STATE_HOME") or f"{user}/.local/state") + "/ingestd")
    settings = _tidy((os.environ.get("XDG_CONFIG_HOME") or f"{user}/.config") + "/ingestd/config.toml")
    return here, _tidy(f"{_runtime_base()}/ingestd"), here + "/log", settings


SERVICES = "/run/ingestd"
"""The same as in ``ingestd.paths``, where the reason is given."""


def _runtime_base() -> str:
    if os.path.isdir(SERVICES):
        service = f"{SERVICES}/{_user()}"
        if os.path.isdir(service) and os.stat(service).st_uid == os.getuid():
            return service
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return runtime
    user = f"/run/user/{os.getuid()}"
    if not runtime and os.path.isdir(user) and os.stat(user).st_uid == os.getuid():
        return user
    return f"/tmp/ingestd-{os.getuid()}"


def _user() -> str:
    from pwd import getpwuid

    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _tidy(path: str) -> str:
    """``path`` as ``pathlib`` spells it: the hash of a long socket path is over these very bytes."""
    # POSIX leaves exactly two leading slashes to the system, so pathlib keeps them.
    lead = "//" if path.startswith("//") and not path.startswith("///") else "/" if path.startswith("/") else ""
    return lead + "/".join([part for part in path.split("/") if part and part != "."])
