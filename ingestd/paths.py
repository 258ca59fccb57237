"""Where things lie: one rule, standard library only, which ``ingestctl.locations`` repeats and a test holds equal.

``INGESTD_HOME=folder`` puts state, socket, logs and configuration into that one folder. Without it the platform's
own places are used: the XDG folders on Linux, ``~/Library`` on macOS.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import NamedTuple

MAX_SOCKET_PATH = 100
"""Bytes. ``sun_path`` holds 104 on macOS and 108 on Linux, terminating zero included; 100 leaves room for both."""


class Places(NamedTuple):
    """Absolute folders and files of one daemon."""

    state: Path
    run: Path
    log: Path
    config: Path

    @property
    def socket(self) -> Path:
        """The control socket; a path too long for ``sun_path`` moves to the runtime folder under a hash."""
        path = self.run / "ingestd.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return _runtime_folder(f"ingestd-{digest}") / "ingestd.sock"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.db"

    @property
    def log_file(self) -> Path:
        return self.log / "ingestd.log"


SERVICES = "/run/ingestd"
"""Where the system's service manager makes a folder for each user's instance, which has no login session."""


SESSIONS = "/run/user"
"""Where logind makes a folder for each user who is logged in, and takes it away after the last logout."""

SHARED = "/tmp"
"""Where a socket lies of which no login session and no service knows: another user may be the first there."""


def _runtime_folder(name: str) -> Path:
    """The folder ``name`` of this user's sockets, which need not exist."""
    service = Path(SERVICES) / _user() if os.path.isdir(SERVICES) else None
    if service and service.is_dir() and service.stat().st_uid == os.getuid():
        return service / name
    # /tmp is shared, so the folder carries the uid; the daemon creates it 0700 and refuses it under another owner.
    shared = Path(SHARED) / f"ingestd-{os.getuid()}" / name
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    session = Path(SESSIONS) / str(os.getuid())
    if runtime and Path(runtime) != session:
        return Path(runtime) / name if os.path.isdir(runtime) else shared
    # A daemon that began without a session stays where it is when one begins: who has a session has to find it too.
    if _holds_socket(shared):
        return shared
    # A shell begun by su or cron does not have the variable, though the folder is there when this user's services run.
    return session / name if session.is_dir() and session.stat().st_uid == os.getuid() else shared


def _holds_socket(folder: Path) -> bool:
    """Whether this user's daemon has its socket in ``folder``. What somebody else put there, or a link, is not it."""
    try:
        found = [path.lstat() for path in (folder.parent, folder, folder / "ingestd.sock")]
    except OSError:
        return False
    kinds = [stat.S_IFMT(info.st_mode) for info in found]
    return kinds == [stat.S_IFDIR, stat.S_IFDIR, stat.S_IFSOCK] and {info.st_uid for info in found} == {os.getuid()}


def socket_now(before: Path) -> Path:
    """Where a daemon's socket belongs that is gone from ``before``: with a session's folder it leaves, to where clients
    without a session look, and stays there. A place that no logout takes away is its own for good."""
    session = Path(SESSIONS) / str(os.getuid())
    return places().socket if session in before.parents else before


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def places() -> Places:
    """The places of this user's daemon, from ``INGESTD_HOME`` or from the platform. Nothing is created."""
    home = os.environ.get("INGESTD_HOME")
    if home:
        base = Path(os.path.abspath(os.path.expanduser(home)))
        return Places(base / "state", base / "run", base / "log", base / "config.toml")
    user = Path(os.path.expanduser("~"))
    if sys.platform == "darwin":
        support = user / "Library" / "Application Support" / "ingestd"
        return Places(support, support / "run", user / "Library" / "Logs" / "ingestd", support / "config.toml")
    state = Path(os.environ.get("XDG_STATE_HOME") or user / ".local" / "state") / "ingestd"
    config = Path(os.environ.get("XDG_CONFIG_HOME") or user / ".config") / "ingestd" / "config.toml"
    return Places(state, _runtime_folder("ingestd"), state / "log", config)
