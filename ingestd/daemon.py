"""The composition root: folders, lock, log, ledger, supervisor and socket put together; signals; one task group."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import anyio
from structlog.typing import FilteringBoundLogger

from ingestd import __version__
from ingestd.config import Settings
from ingestd.control.server import Server
from ingestd.control.verbs import Verbs
from ingestd.errors import IngestError, Misconfigured, Unavailable
from ingestd.host.clocks import SystemClocks
from ingestd.host.disk import NETWORK_FS, file_system
from ingestd.ledger import aside, jobs
from ingestd.ledger.ledger import Ledger
from ingestd.logs import open_log
from ingestd.paths import Places
from ingestd.supervisor.run import Supervisor

OPEN_S: Final = 5.0
"""Seconds for the first write. Taking back what a killed daemon had in flight may need more, a full disk never ends."""


def prepare(places: Places) -> None:
    """Make the folders, for this user alone. Raises ``Misconfigured`` where that cannot be, or on a network share."""
    for folder in (places.state, places.run, places.log):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _not_writable("create", folder, error) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _not_writable("write into", folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
    if any(not str(place).isprintable() for place in places):
        raise Misconfigured(
            "its name is not UTF-8, or holds what cannot be printed", operation="keep the state in",
            object=str(places.state).encode("utf-8", "replace").decode(),
            remedy="Set INGESTD_HOME to a folder with a plain name; the photos may have any",
        )  # fmt: skip
    kind = file_system(places.state)
    if kind in NETWORK_FS:
        raise Misconfigured(
            f"it lies on a network file system ({kind}), where a database's locks do not hold",
            operation="keep the state in", object=str(places.state),
            remedy="Set INGESTD_HOME to a folder on a local disk; the photos themselves may lie anywhere",
        )  # fmt: skip


def _not_writable(operation: str, folder: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        error.strerror or str(error), operation=operation, object=f"the folder {folder}",
        remedy="Give the daemon's user the right to write there, or set INGESTD_HOME to another folder",
    )  # fmt: skip


def take_lock(places: Places) -> int:
    """Hold the state folder for this process; returns the descriptor. Raises naming the daemon that holds it."""
    path = places.state / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_writable("use", places.state, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise IngestError(
            f"another ingestd holds it (pid {pid})", operation="use", object=f"the state folder {places.state}",
            remedy="Talk to that one with ingestctl, or end it: ingestctl shutdown",
        ) from None  # fmt: skip
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


async def serve(places: Places, settings: Settings, *, terminal: bool) -> None:
    """Run the daemon until it is told to end. Raises ``IngestError`` when it cannot begin."""
    prepare(places)
    lock = take_lock(places)
    try:
        log = open_log(places.log_file, settings["log_level"], terminal)
    except OSError as error:
        os.close(lock)
        raise _not_writable("write the log into", places.log, error) from error
    try:
        await _serve(places, settings, log)
    except Exception as error:
        raise _told(error, places, log) from error
    finally:
        os.close(lock)


async def _serve(places: Places, settings: Settings, log: FilteringBoundLogger) -> None:
    clocks = SystemClocks()
    ledger = Ledger(places.ledger, clocks.wall_ms())
    for note in ledger.notes:
        log.warning("ledger", note=note)
    try:
        now, pid = clocks.wall_ms(), os.getpid()
        begun = ledger.write(lambda db: jobs.begin_epoch(db, now, pid, __version__))
        # A later one may wait for space, with a socket to say so; now there is nobody who would be told.
        while not (await asyncio.wait([begun], timeout=OPEN_S))[0]:
            if ledger.trouble:
                raise _full(places, ledger.trouble)
        epoch = begun.result()
        supervisor = Supervisor(ledger, places, clocks, log, epoch, settings)
        await supervisor.load()
        log.info("started", pid=pid, version=__version__, state=str(places.state), epoch=epoch)
        await _conduct(supervisor, settings, places.socket, log)
        log.info("ended", pid=pid)
    finally:
        await anyio.to_thread.run_sync(ledger.close)


def _full(places: Places, trouble: str) -> Unavailable:
    return Unavailable(
        trouble, operation="begin with", object=f"the ledger {places.ledger}",
        remedy="Free some space on its disk, then start again; nothing is lost",
    )  # fmt: skip


def _told(error: Exception, places: Places, log: FilteringBoundLogger) -> Exception:
    """Why the daemon ends, once, in the log; returns what is said to a person: words where there are any."""
    causes = list(_leaves(error))
    if known := next((cause for cause in causes if isinstance(cause, IngestError)), None):
        log.error("cannot go on", why=known.sentence())
        return known
    log.error("ended by an exception", exc_info=error)
    if damage := next((cause for cause in causes if aside.is_damage(cause)), None):
        aside.mark(places.ledger, str(damage))
        return IngestError(
            f"it is damaged: {damage}", operation="go on with", object=f"the ledger {places.ledger}",
            remedy="Start again: it is then moved aside, and what can be read of its results is kept",
        )  # fmt: skip
    return error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


async def _conduct(supervisor: Supervisor, settings: Settings, socket: Path, log: FilteringBoundLogger) -> None:
    """The one task group: the supervisor's loop, the socket, the signals."""
    async with anyio.create_task_group() as tasks:
        stopping = anyio.Event()

        async def stop() -> None:
            if not stopping.is_set():
                stopping.set()
                log.info("stopping")
            await supervisor.close()

        async def signals() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
                async for number in received:
                    log.info("signal", name=signal.Signals(number).name)
                    if number != signal.SIGHUP:
                        tasks.start_soon(stop)

        verbs = Verbs(supervisor, settings, stop)
        server = Server(verbs.handlers(), {"subscribe": verbs.stream_subscribe}, log)
        listener = await server.listen(socket)
        tasks.start_soon(signals)
        tasks.start_soon(_until_done, supervisor, tasks)
        await supervisor.serving.wait()
        tasks.start_soon(server.serve, listener)
    if os.path.lexists(socket):
        os.unlink(socket)


async def _until_done(supervisor: Supervisor, tasks: anyio.abc.TaskGroup) -> None:
    async with anyio.create_task_group() as children:
        try:
            await supervisor.run(children)
        except BaseException:
            supervisor.children.kill_all()  # a child is always waited for, so it must not outlive its supervisor
            raise
        # Replies that say so ("shutdown") are under way: let them out before the socket closes.
        await anyio.sleep(0.1)
        children.cancel_scope.cancel()
    tasks.cancel_scope.cancel()
