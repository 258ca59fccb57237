"""Which user is at the other end of a connection, by the kernel's word, and what that user may ask.

The daemon's own user and root may ask everything. Members of the reading group, where one is configured, may look at
jobs: paths, descriptions, failures. Nobody else is answered. Only the owner may ask what changes something, what tells
where keys lie, and what makes the daemon open a file of the client's choice.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
import sys
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from ingestd.errors import EXIT_USAGE, IngestError
from ingestd.protocol import control as c

READ_VERBS: Final = frozenset({"hello", "status", "wait", "summary", "failed", "show", "search", "subscribe"})
"""Verbs that change nothing: a reader may ask them, and ending one halfway harms nothing."""

OWNER_VERBS: Final = frozenset(
    {"start", "pause", "resume", "stop", "retry", "remove", "config", "logs", "shutdown"}
)  # fmt: skip
"""The others. ``config`` and ``logs`` change nothing, but show the owner's files, not the jobs."""

_SO_PEERGROUPS: Final = 59
"""Linux 4.13, asm-generic/socket.h: the supplementary groups of the process that connected, an array of ``gid_t``."""

_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2
"""sys/un.h of macOS; the answer is a ``struct xucred``: version, uid, number of groups, at most 16 groups."""

_XUCRED: Final = struct.Struct("=IIh2x16I")
_UCRED: Final = struct.Struct("=iII")
_GROUPS_BYTES: Final = 1024
"""The most that Python's ``getsockopt`` returns: 256 groups. A user with more is looked up by name."""


class Rights(Enum):
    """What a peer may ask."""

    NONE = "none"
    READ = "read"
    ALL = "all"


def rights(uid: int, groups: Callable[[], frozenset[int]], owner: int, readers: int | None) -> Rights:
    """What user ``uid`` may ask of a daemon that belongs to ``owner``, with the reading group ``readers``. Pure.

    ``groups`` is called only when it is needed: most peers are the owner.
    """
    if uid in (owner, 0):
        return Rights.ALL
    if readers is not None and readers in groups():
        return Rights.READ
    return Rights.NONE


class Peer(NamedTuple):
    """The process at the other end. ``pid`` is 0 where the kernel does not say."""

    pid: int
    rights: Rights


def peer_of(sock: socket.socket, readers: int | None) -> Peer:
    """Who connected, as the kernel noted it at ``connect``. Raises ``OSError`` when the client is already gone."""
    pid, uid, gid = _credentials(sock)
    return Peer(pid, rights(uid, lambda: _groups(sock, uid, gid), os.getuid(), readers))


def refusal(verb: str, params: c.Params, granted: Rights) -> IngestError | None:
    """The error for a request that a peer with these rights may not make; None when it may."""
    if granted is Rights.ALL:
        return None
    if verb not in READ_VERBS:
        return _only_owner(verb, "the daemon", "members of its reading group may look, and change nothing")
    if isinstance(params, c.Search) and params.like is not None:
        # The daemon would open any file that its own user may read, and tell what it found.
        return _only_owner("search for", "what looks like a file", "members of the reading group search by words alone")
    return None


def _only_owner(operation: str, object: str, message: str) -> IngestError:
    return IngestError(
        message, operation=operation, object=object,
        remedy=f"Ask user {user_name(os.getuid())}, whose daemon it is", exit=EXIT_USAGE,
    )  # fmt: skip


def user_name(uid: int) -> str:
    """A user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _credentials(sock: socket.socket) -> tuple[int, int, int]:
    """Process, user and primary group at the time of ``connect``."""
    if sys.platform == "darwin":
        uid, groups = _xucred(sock)
        return sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID), uid, next(iter(groups), -1)
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def _groups(sock: socket.socket, uid: int, gid: int) -> frozenset[int]:
    if sys.platform == "darwin":
        return frozenset(_xucred(sock)[1]) | _groups_by_name(uid, gid)  # the kernel tells the first 16 alone
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:  # an old kernel, or more groups than fit
        return _groups_by_name(uid, gid)
    return frozenset({gid, *struct.unpack(f"={len(data) // 4}I", data)})


def _groups_by_name(uid: int, gid: int) -> frozenset[int]:
    """The user's groups by the system's files. The process may have others: the kernel is asked first."""
    try:
        return frozenset(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (KeyError, OSError):
        return frozenset({gid})


def _xucred(sock: socket.socket) -> tuple[int, tuple[int, ...]]:
    _, uid, count, *groups = _XUCRED.unpack(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size))
    return uid, tuple(groups[:count])
