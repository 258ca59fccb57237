"""What this process may use and has used so far, from the kernel, without libraries."""

from __future__ import annotations

import os
import resource
import sys

from ingestd.protocol.work import Usage


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usage() -> Usage:
    """Peak footprint in bytes and CPU seconds of all threads.

    Linux keeps the peak of RSS only. The pages shared with other processes (libraries, a forked parent's weights) are
    taken off it by what is shared now, which gives the peak of the unique set but for the sharing that changed since.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    # ru_maxrss is in bytes on macOS, in KiB elsewhere.
    peak = used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024
    shared = _shared_now()
    return Usage(max(peak - shared, 0), used.ru_utime + used.ru_stime)


def _shared_now() -> int:
    """Bytes of resident memory that other processes map too; 0 where the kernel does not say."""
    try:
        with open("/proc/self/smaps_rollup", "rb") as rollup:
            kib = {key: int(value.split()[0]) for key, _, value in (line.partition(b":") for line in rollup) if value}
        return 1024 * (kib[b"Rss"] - kib[b"Private_Clean"] - kib[b"Private_Dirty"])
    except (OSError, KeyError, ValueError, IndexError):
        return 0
