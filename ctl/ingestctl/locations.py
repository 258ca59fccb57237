"""Where the daemon's socket, state and log are: the rule of ``ingestd.paths``, repeated without ``pathlib``.

A test holds the two equal under every kind of environment. The rule is no configuration key: client and daemon find
each other by the environment alone.
"""

from __future__ import annotations

import os
import stat
import sys

MAX_SOCKET_PATH = 100
"""Bytes; the same as in ``ingestd.paths``, where the reason is given."""


def state() -> str:
    """The state folder: ledger, spool, stores."""
    return _folders()[0]


def chosen() -> str | None:
    """The socket that ``INGESTD_SOCKET`` names, which may be another user's daemon; None where it is not set."""
    path = os.environ.get("INGESTD_SOCKET")
    return os.path.abspath(os.path.expanduser(path)) if path else None


def is_anothers() -> bool:
    """Whether ``INGESTD_SOCKET`` names another daemon than the one whose folders this client finds by itself."""
    path = chosen()
    return path is not None and os.path.realpath(path) != os.path.realpath(own_socket())


def is_named() -> bool:
    """Whether the environment says which daemon is meant: it may be another user's then."""
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

    return _runtime_folder(f"ingestd-{sha256(raw).hexdigest()[:16]}") + "/ingestd.sock"


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
    return here, _runtime_folder("ingestd"), here + "/log", settings


# The same as in ``ingestd.paths``, where the reasons are given.
SERVICES = "/run/ingestd"
SESSIONS = "/run/user"
SHARED = "/tmp"


def _runtime_folder(name: str) -> str:
    if os.path.isdir(SERVICES):
        service = f"{SERVICES}/{_user()}"
        if os.path.isdir(service) and os.stat(service).st_uid == os.getuid():
            return _tidy(f"{service}/{name}")
    shared = _tidy(f"{SHARED}/ingestd-{os.getuid()}/{name}")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    session = _tidy(f"{SESSIONS}/{os.getuid()}")
    if runtime and _tidy(runtime) != session:
        return _tidy(f"{runtime}/{name}") if os.path.isdir(runtime) else shared
    if _holds_socket(shared):
        return shared
    return f"{session}/{name}" if os.path.isdir(session) and os.stat(session).st_uid == os.getuid() else shared


def _holds_socket(folder: str) -> bool:
    try:
        found = [os.lstat(path) for path in (os.path.dirname(folder), folder, f"{folder}/ingestd.sock")]
    except OSError:
        return False
    kinds = [stat.S_IFMT(info.st_mode) for info in found]
    return kinds == [stat.S_IFDIR, stat.S_IFDIR, stat.S_IFSOCK] and {info.st_uid for info in found} == {os.getuid()}


def _user() -> str:
    from pwd import getpwuid

    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _tidy(path: str) -> str:
    """``path`` as ``pathlib`` writes it: the hash of a long socket path is over these very bytes."""
    # POSIX leaves exactly two leading slashes to the system, so pathlib keeps them.
    lead = "//" if path.startswith("//") and not path.startswith("///") else "/" if path.startswith("/") else ""
    return lead + "/".join([part for part in path.split("/") if part and part != "."])
