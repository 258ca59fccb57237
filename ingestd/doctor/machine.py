"""Limits of the process, the clock."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from typing import Final

import psutil

from ingestd.doctor.context import Context
from ingestd.protocol.addresses.endpoint_url import PREFIX
from ingestd.protocol.doctor import Finding

OWN_FILES: Final = 128
"""Files that a daemon holds open: some 20 for itself (measured), up to 64 clients, and air."""

CHILD_FILES: Final = 4
"""Files of the daemon's for each child: its socket, what it prints, its end."""

STORE_FILES: Final = 256
"""Files that one child may hold open: an embedded store has 9 while it is small (measured), and more as it grows."""

_TIME_ERROR: Final = 5
"""What adjtimex(2) returns while nobody has set the clock by the network."""

BUILT: Final = 1_760_000_000
"""Unix seconds: autumn 2025. A clock before that has lost its battery."""

AHEAD_S: Final = 120.0
"""Seconds that the newest record may lie in the future: clocks are set back a little now and then."""


async def files(context: Context) -> list[Finding]:
    """The limit of open files that the daemon has, or would inherit here, is enough for it and its children."""
    what = "open files"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    whose = "this shell's, which a daemon started here has too"
    if context.daemon and hasattr(psutil.Process, "rlimit"):
        try:
            soft, hard = psutil.Process(context.daemon.hello.pid).rlimit(psutil.RLIMIT_NOFILE)
            whose = "the daemon's"
        except psutil.Error:
            pass  # it is seen from another namespace: ours is the best guess
    needed = _needed(context)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        many = "any number" if soft == resource.RLIM_INFINITY else str(soft)
        return [Finding("ok", what, f"{many} may be open, {needed} are needed")]
    text = f"{soft} may be open ({whose}), {needed} are needed"
    if hard == resource.RLIM_INFINITY or hard >= needed:
        remedy = f"ulimit -n {max(needed, 1024)}, then start the daemon from that shell; as a service: LimitNOFILE="
    else:
        remedy = f"Raise the hard limit ({hard}): nofile in /etc/security/limits.conf, or LimitNOFILE= of the service"
    return [Finding("fail", what, text, f"{remedy}; it takes the new limit when it starts anew")]


def _needed(context: Context) -> int:
    children = 2  # a walker and a probe
    largest, known = CHILD_FILES, context.sink_kinds
    for job in context.active:
        children += job.row.spec.workers + len(job.row.sinks)
        largest = max([largest, *(known[sink.kind].files for sink in job.row.sinks if sink.kind in known)])
        if any(ask.model.startswith(PREFIX) for ask in job.row.spec.steps):
            largest = max(largest, 64 + 2 * job.row.spec.concurrency)
    return max(OWN_FILES + CHILD_FILES * children, largest, STORE_FILES)


async def clock(context: Context) -> list[Finding]:
    """It is not before what was written down already, and whether the network sets it."""
    what, now = "clock", time.time()
    told = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now))
    newest = max((_newest(job.facts.row.changed, job.facts.tally.committed) for job in context.jobs), default=0.0)
    remedy = "Set it: timedatectl set-ntp true (Linux), Settings, Date & Time (macOS)"
    if now < BUILT:
        return [Finding("fail", what, f"{told} lies before this release: it is not set", remedy)]
    if newest > now + AHEAD_S:
        then = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(newest))
        text = f"{told} lies before the newest record of the ledger ({then}): it went back, or was ahead then"
        return [Finding("fail", what, text, f"{remedy}; what waits for a time would wait until then")]
    synced = _synced()
    how = "" if synced is None else ", set by the network" if synced else ", set by nobody over the network (no NTP)"
    return [Finding("ok", what, f"{told}{how}")]


def _newest(changed: int, committed: int | None) -> float:
    return max(changed, committed or 0) / 1000


def _synced() -> bool | None:
    """Whether the kernel counts the clock as set by the network; None where it does not say."""
    if sys.platform != "linux":
        return None
    # struct timex is some 200 bytes on every architecture; all zero, it asks and changes nothing.
    buffer = ctypes.create_string_buffer(512)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    return None if state < 0 else state != _TIME_ERROR
