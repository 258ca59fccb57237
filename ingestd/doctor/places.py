"""The state folder, the ledger, the log, the control socket and who listens there."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from ingestd import __version__
from ingestd.control.transport.listener import check_place
from ingestd.doctor import wording
from ingestd.doctor.checking import blocking, refused
from ingestd.doctor.context import Context
from ingestd.host.disk import NETWORK_FS, file_system
from ingestd.host.log_note import where
from ingestd.policy.disk_estimate import MARGIN, RESERVE, estimate
from ingestd.protocol.doctor import Finding

FREE_SOME: Final = "Free some space there, or set INGESTD_HOME to a folder on a larger disk"
ELSEWHERE: Final = "or set INGESTD_HOME to another folder"

_BLOCK: Final = b"\0" * 4096


class Written(NamedTuple):
    """A folder that was tried: the one that there is, whether it is the very one asked for, bytes free, how long a
    file took to be written and synced (ms, 0 where it is not there yet), and its file system's type."""

    folder: Path
    there: bool
    free: int
    ms: float
    kind: str


def try_folder(folder: Path) -> Written:
    """Write a small file, durably, and take it away again; of a folder that is not there, look where it would be made.

    Raises ``OSError`` with the folder as its file name.
    """
    nearest, there = folder, True
    while not os.path.lexists(nearest):
        nearest, there = nearest.parent, False
    volume = os.statvfs(nearest)
    free = volume.f_bavail * volume.f_frsize
    ms = 0.0
    if there:
        ms = _write(nearest / f".doctor-{os.getpid()}")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(nearest))
    if volume.f_files and not volume.f_favail:
        raise OSError(errno.ENOSPC, "no inodes are free: the disk holds too many files", str(nearest))
    return Written(nearest, there, free, ms, file_system(nearest))


def _write(file: Path) -> float:
    began = time.perf_counter()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, _BLOCK)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file.parent)) from error
    finally:
        try:
            os.unlink(file)
        except OSError:
            pass  # it could not be made either
    return (time.perf_counter() - began) * 1e3


def unwritable(what: str, error: OSError) -> Finding:
    """Why a folder cannot be written, with the way on."""
    place = wording.path(error.filename or "")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = FREE_SOME if full else f"Give this user the right to write there, {ELSEWHERE}"
    if error.errno == errno.EROFS:
        remedy = f"Mount it writable (the kernel does so read-only after errors: see dmesg), {ELSEWHERE}"
    if error.errno == errno.EIO:
        remedy = f"The disk fails: look at its health and at dmesg, {ELSEWHERE}"
    return Finding("fail", what, f"{place} cannot be written: {(error.strerror or str(error)).lower()}", remedy)


async def state(context: Context) -> list[Finding]:
    """Writable, on a local file system, with room for what the jobs still have to write."""
    what, folder = "state folder", context.places.state
    try:
        tried = await blocking(lambda: try_folder(folder))
    except OSError as error:
        return [unwritable(what, error)]
    place, free = wording.path(folder), f"{wording.size(tried.free)} free"
    if tried.kind in NETWORK_FS:
        text = f"{place} lies on a network file system ({tried.kind}), where a database's locks do not hold"
        return [Finding("fail", what, text, "Set INGESTD_HOME to a folder on a local disk; photos may lie anywhere")]
    least, needed = _least(context), _needed(context)
    if tried.free < max(least, needed * MARGIN + RESERVE):
        comes = f", about {wording.size(needed)} are still to come" if needed else ""
        text = f"{place}: no disk: {free}{comes}, {wording.size(least)} are kept free"
        return [Finding("fail", what, text, FREE_SOME)]
    to_come = f", about {wording.size(needed)} still to come" if needed else ""
    how = f"writable, synced in {tried.ms:.0f} ms" if tried.there else f"is made by the first start, in {tried.folder}"
    kind = f", {tried.kind}" if tried.kind else ""
    return [Finding("ok", what, f"{place}: {how}, {free}{to_come}{kind}")]


def _least(context: Context) -> int:
    """What must stay free there: the ledger's reserve, or a larger one of a store."""
    known = context.sink_kinds
    kinds = {sink.kind for job in context.active for sink in job.row.sinks if not sink.place}
    if not context.jobs:
        asked = context.settings["sinks"].split(",")
        kinds = {kind.name for kind in known.values() if kind.asked in asked and "nothing" in kind.takes}
    return max([RESERVE, *(known[kind].reserve for kind in kinds if kind in known)])


def _needed(context: Context) -> int:
    """Bytes that jobs have still to write, where their first items tell how large results are."""
    total = 0
    for job in context.active:
        if job.item_bytes:
            sinks = [sink.kind for sink in job.row.sinks]
            total += estimate(job.facts.tally.open, job.item_bytes, sinks, 0, context.sink_kinds).needed
    return total


async def ledger(context: Context) -> list[Finding]:
    """It can be read, by this version."""
    what, file = "ledger", context.places.ledger
    if context.ledger_error is not None:
        return [refused(what, context.ledger_error)]
    try:
        length = await blocking(lambda: file.stat().st_size)
    except FileNotFoundError:
        return [Finding("ok", what, f"{wording.path(file)}: none yet, the first start makes it")]
    jobs = f"{wording.many(len(context.jobs), 'job')}, {len(context.active)} not over"
    return [Finding("ok", what, f"{wording.path(file)}: {wording.size(length)}, {jobs}")]


async def log(context: Context) -> list[Finding]:
    """It can be written, and nothing of it was lost."""
    what, file = "log", context.places.log_file
    dropped = context.daemon.status.daemon.log_dropped if context.daemon else 0
    if dropped:
        text = f"{wording.many(dropped, 'line')} lost: what takes the log stood still"
        return [Finding("warn", what, text, "Look at the disk or the journal that takes it")]
    said = context.daemon.status.daemon.log if context.daemon else where(file)
    if said != str(file):
        return [Finding("ok", what, said)]
    try:
        tried = await blocking(lambda: try_folder(file.parent))
    except OSError as error:
        return [unwritable(what, error)]
    how = "writable" if tried.there else f"is made by the first start, in {wording.path(tried.folder)}"
    return [Finding("ok", what, f"{wording.path(file)}: {how}")]


async def socket(context: Context) -> list[Finding]:
    """Nobody else can reach it, or put one in its place."""
    what, file = "socket", context.places.socket
    await blocking(lambda: check_place(file, context.settings["read_group"]))
    group = context.settings["read_group"]
    who = f"; members of {group} may read" if group else ""
    return [Finding("ok", what, f"{wording.path(file)}: in a folder that is safe{who}")]


async def daemon(context: Context) -> list[Finding]:
    """It runs and answers, is of this version, and can store what it does."""
    what = "daemon"
    if context.daemon_error:
        return [Finding("fail", what, context.daemon_error, "See what it does: ingestctl logs; end it: kill its pid")]
    if context.daemon is None:
        waiting = [job.row.name for job in context.active if job.row.status != "paused"]
        if not waiting:
            return [Finding("ok", what, "none runs, and no job waits for one; ingestctl start begins one")]
        text = f"none runs, and {wording.many(len(waiting), 'job')} would go on{wording.of_jobs(waiting)}"
        return [Finding("warn", what, text, "ingestctl start")]
    hello, status = context.daemon.hello, context.daemon.status.daemon
    if status.trouble:
        return [Finding("fail", what, f"it cannot store anything: {status.trouble}", FREE_SOME)]
    up = max(0.0, time.time() - status.started) / 3600
    text = (
        f"ingestd {hello.version} answers (pid {hello.pid}, up {up:.1f} h, memory {wording.size(status.memory_bytes)})"
    )
    if hello.version != __version__:
        remedy = "ingestctl shutdown, then ingestctl start; as a service: ingestctl service install"
        return [Finding("warn", what, f"{text}, and {__version__} is installed", remedy)]
    return [Finding("ok", what, text)]
