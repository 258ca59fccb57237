"""What this machine offers to lock children down, for ``doctor``: a line for each means, with the way to more."""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple

from ingestd.lockdown import SWITCH, landlock, sockets

_ACTIONS: Final = "/proc/sys/kernel/seccomp/actions_avail"

_ABIS: Final = (
    (2, "5.19", "moving files between folders is refused even in a child's own"),
    (3, "6.2", "cutting files short is not refused"),
    (4, "6.7", "TCP connections are refused by the system call filter alone"),
    (5, "6.10", "device controls are not refused"),
    (6, "6.12", "signals to other processes are not refused"),
)
"""ABI of Landlock → the kernel that brought it, and what is open before it."""


class Offer(NamedTuple):
    """One means. ``whole``: nothing is missing of it; else ``remedy`` says what would bring the rest."""

    what: str
    whole: bool
    words: str
    remedy: str = ""


def offers(setting: str = "auto", kernel: landlock.Kernel | None = None) -> list[Offer]:
    """What is there; ``setting`` is the daemon's ``lockdown``, ``kernel`` what to take the kernel for in tests.

    Nothing that is missing keeps a job from running.
    """
    if setting != "auto":
        return [Offer("lockdown", False, "it is switched off", f"Take {SWITCH} away again")]
    if sys.platform != "linux":
        words = "this system has no way for a process to lock itself down; limits and a clean environment hold"
        return [Offer("lockdown", False, words, "Run the daemon on Linux where pictures come from strangers")]
    return [_landlock(kernel or landlock.kernel()), _filter()]


def _landlock(kernel: landlock.Kernel) -> Offer:
    if not kernel.abi:
        return Offer("landlock", False, f"files are not locked: {kernel.why}", kernel.remedy)
    open_still = [(since, what) for abi, since, what in _ABIS if kernel.abi < abi]
    if not open_still:
        return Offer("landlock", True, f"ABI {kernel.abi}: files, TCP and signals")
    words = "; ".join(what for _, what in open_still)
    return Offer("landlock", False, f"ABI {kernel.abi}: {words}", f"Linux {open_still[-1][0]} has all of it")


def _filter() -> Offer:
    what = "system call filter"
    if not sockets.known():
        machine = os.uname().machine
        return Offer(what, False, f"the system calls of {machine} are not known here", "x86_64 and aarch64 are known")
    if not os.path.exists(_ACTIONS):
        return Offer(what, False, "this kernel has none", "Use one that was built with CONFIG_SECCOMP_FILTER")
    return Offer(what, True, "sockets and new programs")
