"""Children give up what they do not need, before they look at anything that others made.

A child that decodes pictures runs code of many libraries on bytes from anywhere. So that a picture that takes one of
them over gets little: the child names what its work needs (an ``Access``) from its first message, and by ``apply``
gives up all else, without root. In force where the kernel has it: Landlock (files, TCP, signals), a system call filter
(sockets, new programs, modes of files), limits (core dumps, descriptors, file length, CPU time without progress). What
is missing is said and never fatal.

What this does not do: a job from a list of files in very many folders, and an encoder of query pictures, may read every
file that the daemon's user may read; they have no network and cannot write. What a worker derives from a model lies
in a folder that its followers read, so one that was taken over can spoil their vectors as it can its own.

The rooms: ``landlock``, ``sockets``, ``limits`` (the kernel's means), ``system`` (what everybody needs),
``environment`` (variables), ``offers`` (what this machine has, for a person).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from ingestd.lockdown import landlock, limits, sockets, system
from ingestd.lockdown.landlock import READ, READ_FILE, WRITE, WRITE_FILE, Rule

SWITCH: Final = 'lockdown = "no" in config.toml (or INGESTD_LOCKDOWN=no)'
"""How a person whom it hurts turns it off."""


DNS: Final = 53
"""The port that an answer too long for one datagram is asked for by TCP."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a child's work needs beside what every child does. Paths are absolute.

    ``read`` may be read, ``write`` written too (folders and files), ``change`` are files that are written where they
    lie. ``ports``: TCP ports that may be connected to, None for the whole network. ``anywhere``: files are not locked.
    ``attributes``: modes, owners and times of files may be changed. ``cpu_s``: CPU seconds without a message, 0 for no
    limit. ``short``: it writes no long files.
    """

    read: tuple[bytes, ...] = ()
    write: tuple[bytes, ...] = ()
    change: tuple[bytes, ...] = ()
    ports: tuple[int, ...] | None = ()
    anywhere: bool = False
    attributes: bool = False
    cpu_s: int = 0
    short: bool = False


class Applied(NamedTuple):
    """What is in force and what is not, in a few words each; ``progress`` is to be called when a message went out."""

    force: list[str]
    missing: list[str]
    progress: Callable[[], None] | None = None


_landlocked: Access | None = None


def apply(access: Access, kernel: landlock.Kernel | None = None) -> Applied:
    """Lock this process to ``access``, for good. Called while it has one thread. Never raises.

    ``kernel``: what to take the kernel for, in tests.
    """
    global _landlocked
    force: list[str] = []
    missing: list[str] = []

    def note(words: str, done: bool) -> None:
        (force if done else missing).append(words)

    if threads := _other_threads():
        missing.append(f"{threads} threads began before the lock")
    note("no core dumps", limits.no_core())
    note(f"at most {limits.DESCRIPTORS} open files", limits.few_descriptors())
    if access.short:
        note(f"no file over {limits.FILE_BYTES >> 30} GiB", limits.short_files())
    spin = limits.Spin(access.cpu_s) if access.cpu_s else None
    if spin is not None:
        force.append(f"at most {access.cpu_s} s of CPU time without progress")
    kernel = landlock.kernel() if kernel is None else kernel
    try:
        if not kernel.abi:
            missing.append(f"landlock: {kernel.why}")
        elif landlock.restrict(kernel.abi, _rules(access), access.ports):
            _landlocked = access
            force += _told(kernel.abi, access)
            if kernel.abi < 4 and access.ports:
                missing.append("TCP goes to any port: this kernel's landlock does not know ports")
    except OSError as error:
        missing.append(f"landlock: {error.strerror}")
    _filter(access, force, missing)
    return Applied(force, missing, spin.progress if spin else None)


def _other_threads() -> int:
    """Threads beside this one: the kernel locks the calling thread alone."""
    try:
        return len(os.listdir("/proc/self/task")) - 1
    except OSError:
        return 0


def refuses(path: bytes) -> bool:
    """Whether it is the lock of this process that keeps it from reading ``path``: its user may, by the file's mode."""
    if _landlocked is None or _landlocked.anywhere or b"/" in _landlocked.read:
        return False
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)


def blamed(error: BaseException) -> bool:
    """Whether the lock may be behind an exception: something in its chain was denied, and this process is locked."""
    if _landlocked is None:
        return False
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
            if not isinstance(error.filename, str | bytes) or _may_by_mode(os.fsencode(error.filename), _landlocked):
                return True
        elif "(os error 13)" in str(error):  # how libraries written in Rust say it
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return False


def _may_by_mode(path: bytes, access: Access) -> bool:
    """Whether it can only be the lock that denied ``path``: the modes of files let this user in."""
    if access.anywhere:
        return False
    written = any(path == place or path.startswith(place.rstrip(b"/") + b"/") for place in access.write)
    target = path if os.path.lexists(path) else os.path.dirname(path)
    return os.access(target, os.R_OK | os.W_OK if written else os.R_OK)


def _rules(access: Access) -> list[Rule] | None:
    if access.anywhere:
        return None
    rules = [*system.everybody(), *system.computing()]
    if access.ports != ():
        rules += system.network()
    rules += (Rule(path, READ) for path in access.read)
    rules += (Rule(path, WRITE) for path in access.write)
    rules += (Rule(path, READ_FILE | WRITE_FILE | landlock.TRUNCATE) for path in access.change)
    return rules


def _told(abi: int, access: Access) -> list[str]:
    words = [f"landlock {abi}"]
    if not access.anywhere:
        words.append("reads every file" if b"/" in access.read else f"reads {_places(access.read)} of its job")
        written = {*access.write, *access.change}
        words.append(f"writes {_places(written)}" if written else "writes nothing")
    if abi >= 4 and access.ports is not None:
        words.append("TCP to port " + ", ".join(map(str, access.ports)) if access.ports else "no TCP")
    if abi >= 6:
        words.append("no signals to others")
    return words


def _places(paths: Collection[bytes]) -> str:
    count = len(set(paths))
    return "1 place" if count == 1 else f"{count} places"


def _filter(access: Access, force: list[str], missing: list[str]) -> None:
    if not sockets.known():
        missing.append("sockets and programs: system calls of this machine are not known")
        return
    families = set(sockets.INTERNET) if access.ports != () else set()
    kinds = ["internet"] if families else []
    if system.devices():  # CUDA's driver talks to itself over one
        families.add(sockets.UNIX)
        kinds.append("Unix")
    try:
        sockets.filter_calls(families, attributes=access.attributes or access.anywhere)
    except OSError as error:
        missing.append(f"system call filter: {error.strerror}")
        return
    if not (access.attributes or access.anywhere):
        force.append("no file's mode or times changed")
    force += ["no programs", f"no sockets but {' and '.join(kinds)} ones" if kinds else "no sockets"]
