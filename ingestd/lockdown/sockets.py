"""What Landlock does not see is refused by a system call filter (seccomp(2), classic BPF): sockets, new programs, and
the calls that lead around a lock or that it leaves open.

Landlock knows TCP alone. Through a Unix socket a process may ask others to act for it (the session's bus, a container
engine, the daemon itself), and UDP carries data out. So ``socket`` itself is refused but for the families that the work
needs; ``socketpair`` stays, which event loops are made of.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Collection
from typing import Final

from ingestd.lockdown.landlock import no_new_privileges

INTERNET: Final = frozenset((2, 10, 16))
"""AF_INET, AF_INET6, and AF_NETLINK, by which name resolution asks for the machine's addresses."""

UNIX: Final = 1

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

# struct seccomp_data
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16

_X32: Final = 0x40000000

_MACHINES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""``uname -m`` → AUDIT_ARCH_* (``linux/audit.h``), and its column below."""

_SOCKET: Final = (41, 198)
_IO_URING_SETUP: Final = 425

_FORBIDDEN: Final = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
}
"""The numbers of calls that start programs or lead around a lock (``asm/unistd_64.h``, ``asm-generic/unistd.h``)."""

_ATTRIBUTES: Final = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""The numbers of calls that change a file's mode, owner, times and attributes; None where a machine has no such call.
Landlock does not see them, so that they work on every file of the user's (landlock(7), "Limitations")."""


def known() -> bool:
    """Whether this machine's system calls are known here."""
    return sys.platform == "linux" and os.uname().machine in _MACHINES and sys.maxsize > 2**32


def filter_calls(families: Collection[int], *, attributes: bool) -> None:
    """Refuse sockets of other families than these, new programs, and what leads around a lock; without ``attributes``
    changing those of files as well. Raises ``OSError``."""
    install(_program(os.uname().machine, families, attributes))


def install(instructions: list[tuple[int, int, int, int]]) -> None:
    """Give the kernel a filter for this thread and what it begins: (code, jump if true, jump if false, value) each.

    Raises ``OSError``.
    """
    code = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(held))
    no_new_privileges()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.c_char_p(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the system call filter was refused")


def refuse_calls(numbers: Collection[int], code: int) -> list[tuple[int, int, int, int]]:
    """Instructions by which each of these calls fails with ``code``; the call's number is loaded already."""
    found = []
    for number in numbers:
        found += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | code)]
    return found


def _program(machine: str, families: Collection[int], attributes: bool) -> list[tuple[int, int, int, int]]:
    architecture, column = _MACHINES[machine]
    kept = () if attributes else [numbers[column] for numbers in _ATTRIBUTES.values()]
    may = sorted(families)
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),  # the same calls have other numbers there
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        *refuse_calls((_IO_URING_SETUP,), errno.ENOSYS),  # whoever asks has another way
        *refuse_calls([numbers[column] for numbers in _FORBIDDEN.values()], errno.EACCES),
        *refuse_calls([number for number in kept if number is not None], errno.EPERM),
        (_EQUAL, 1, 0, _SOCKET[column]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *((_EQUAL, len(may) - at, 0, family) for at, family in enumerate(may)),
        (_RETURN, 0, 0, _ERRNO | errno.EACCES),
        (_RETURN, 0, 0, _ALLOW),
    ]
