"""Landlock (landlock(7)): a process gives up, for good and for its children, every file and port that it has not named.

Called by system call number, which is the same on all architectures; no library wraps it. What a kernel knows is its
ABI, a number that only grows (1: Linux 5.13); whatever a kernel does not know is left out and said, never fatal. A lock
is the calling thread's: it has to fall before another thread begins.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NET_PORT: Final = 2
_PR_SET_NO_NEW_PRIVS: Final = 38

# linux/landlock.h, LANDLOCK_ACCESS_FS_*
EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SYM: Final = 1 << 12
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15

_FIRST_FS: Final = (1 << 13) - 1
"""What ABI 1 knows: all from ``EXECUTE`` to ``MAKE_SYM``."""

_TCP: Final = 0b11
"""``LANDLOCK_ACCESS_NET_BIND_TCP`` and ``…_CONNECT_TCP``."""

_CONNECT: Final = 0b10
_SCOPES: Final = 0b11
"""``LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`` and ``LANDLOCK_SCOPE_SIGNAL``."""

READ: Final = READ_FILE | READ_DIR
WRITE: Final = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER | TRUNCATE
DEVICE: Final = READ | WRITE_FILE | IOCTL_DEV

_OF_A_FILE: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What a rule may say of something that is no folder."""


_NEWER: Final = "Use a kernel from 5.13 on with 'landlock' among its lsm= (most distributions' have it)"
_LET_PASS: Final = "Let that filter pass landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"


class Kernel(NamedTuple):
    """``abi`` is 0 where there is no Landlock; ``why`` then says it in words, ``remedy`` what would change it."""

    abi: int
    why: str = ""
    remedy: str = _NEWER


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done at ``path`` and below it. One that is not there gives nothing."""

    path: bytes
    access: int


def kernel() -> Kernel:
    """What the running kernel knows."""
    if sys.platform != "linux":
        return Kernel(0, "it is Linux's own")
    try:
        return Kernel(_call(_CREATE_RULESET, None, 0, _ASK_VERSION))
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return Kernel(0, "it was left out when this kernel was started")
        if error.errno == errno.EPERM:
            return Kernel(0, "a system call filter, of a container or a service, refuses it", _LET_PASS)
        return Kernel(0, "this kernel was built without it, or is older than 5.13")


def handled(abi: int) -> tuple[int, int, int]:
    """What a lock of this ABI refuses unless a rule allows it: file accesses, TCP accesses, scopes."""
    files = _FIRST_FS
    if abi >= 2:
        files |= REFER
    if abi >= 3:
        files |= TRUNCATE
    if abi >= 5:
        files |= IOCTL_DEV
    return files, _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0


def restrict(abi: int, rules: Iterable[Rule] | None, ports: Iterable[int] | None) -> bool:
    """Lock this thread: files by ``rules``, TCP connections to ``ports`` alone; None leaves the one or the other open.

    False when this kernel has nothing to lock then. Raises ``OSError``, and then nothing is locked.
    """
    files, tcp, scopes = handled(abi)
    if rules is None:
        files = 0
    if ports is None:
        tcp = 0
    if not files | tcp | scopes:
        return False
    made = struct.pack("=QQQ", files, tcp, scopes)
    ruleset = _call(_CREATE_RULESET, made, len(made), 0)
    try:
        for rule in rules or ():
            _allow(ruleset, rule, files)
        if tcp:
            for port in ports or ():
                _call(_ADD_RULE, ruleset, _NET_PORT, struct.pack("=QQ", _CONNECT, port), 0)
        no_new_privileges()
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def no_new_privileges() -> None:
    """No program that this process starts gains rights by its set-user-id bit. The kernel asks for it before a lock."""
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")


def _allow(ruleset: int, rule: Rule, files: int) -> None:
    place = _open(rule.path)
    if place is None:
        return
    try:
        known = files if stat.S_ISDIR(os.fstat(place).st_mode) else files & _OF_A_FILE
        if access := rule.access & known:
            _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, place), 0)
    finally:
        os.close(place)


def _open(path: bytes) -> int | None:
    """A descriptor that names a place; None where it is not there, or not to be seen by this user.

    With a dot behind it, a folder on which a disk is mounted when it is first used is the disk's, not the one below.
    """
    for way in (path + b"/.", path):
        try:
            return os.open(way, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
    return None


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call by its number. Raises ``OSError``."""
    words = [ctypes.c_char_p(one) if isinstance(one, bytes | None) else ctypes.c_long(one) for one in arguments]
    result: int = _libc().syscall(ctypes.c_long(number), *words)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc
