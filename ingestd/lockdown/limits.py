"""Limits that the kernel holds a child to: no core dumps, descriptors, the length of a file, CPU time without progress.

Address space is not limited: torch maps far more than it uses. Processes are not: that limit counts the user's own.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable
from typing import Final

DESCRIPTORS: Final = 4096
"""Open files at once: an endpoint worker holds some hundred connections, everything else a few dozen files."""

FILE_BYTES: Final = 1 << 30
"""The longest file that a worker may write: what it derives from a model has some megabytes."""

STEP_S: Final = 600
"""Seconds of all cores that loading a model, or a picture with all but writing, may take without a message."""

TOKEN_S: Final = 60
"""Seconds of all cores for each token that a model may write, many times what a slow machine needs for a batch."""


def no_core() -> bool:
    """No core dump of this process, which holds pictures and keys; whether the kernel agreed.

    The limit is one byte and not none: with none, a kernel that pipes its dumps to a program (systemd-coredump, apport)
    does so all the same; with one it does not (``fs/coredump.c``). ``PR_SET_DUMPABLE`` is left alone, since it would
    also hide the process's memory figures from a daemon of the same user.
    """
    return _lower(resource.RLIMIT_CORE, 1)


def few_descriptors() -> bool:
    """At most ``DESCRIPTORS`` open files."""
    return _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)


def short_files() -> bool:
    """No file longer than ``FILE_BYTES``; writing on gives EFBIG, for Python ignores the signal."""
    return _lower(resource.RLIMIT_FSIZE, FILE_BYTES)


def patience(tokens: Iterable[int], cores: int) -> int:
    """CPU seconds that a worker whose steps write so many ``tokens`` may use without a message.

    It follows from the work and not from the batch: a batch may be as long as a person likes, and a limit for all of it
    would stop nothing. What runs in circles in native code is ended by this even when nobody watches it.
    """
    return cores * (STEP_S + TOKEN_S * sum(tokens))


class Spin:
    """Ends this process by SIGXCPU when it has used ``seconds`` of CPU time since the last ``progress``."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._until = 0.0
        self.progress()

    def progress(self) -> None:
        """A message went out: the limit counts anew. Cheap: the kernel is told once a quarter of the time has gone."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        now = used.ru_utime + used.ru_stime
        if now + self._seconds * 0.75 > self._until:
            self._until = now + self._seconds
            _lower(resource.RLIMIT_CPU, int(self._until) + 1, hard=False)


def _lower(what: int, value: int, *, hard: bool = True) -> bool:
    """Set a soft limit, and a hard one with it; never above the hard limit that is there."""
    _, most = resource.getrlimit(what)
    wanted = value if most == resource.RLIM_INFINITY else min(value, most)
    try:
        resource.setrlimit(what, (wanted, wanted if hard else most))
    except (OSError, ValueError):
        return False
    return True
