"""The composition root: folders, lock, log, ledger, supervisor and socket put together; signals; one task group.

What a service manager is told (``host.notify``), and what it concludes from the exit code, is decided here as well.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio
from structlog.typing import FilteringBoundLogger

from ingestd import __version__
from ingestd.config import Settings
from ingestd.control import verb_table
from ingestd.control.status_line import status_line
from ingestd.control.transport.listener import Listener
from ingestd.control.transport.server import Server
from ingestd.control.verb_context import VerbContext
from ingestd.errors import NO_RESTART, AlreadyRunning, IngestError, Misconfigured, Unavailable, daemon_exit
from ingestd.host.clocks import SystemClocks
from ingestd.host.disk import NETWORK_FS, file_system
from ingestd.host.notify import Notifier
from ingestd.host.watchdog import beat
from ingestd.ledger import aside, jobs
from ingestd.ledger.ledger import Ledger
from ingestd.logs import Log, adopted, open_log
from ingestd.paths import Places
from ingestd.supervisor.loop import Supervisor
from ingestd.supervisor.shared import Shared

T = TypeVar("T")

OPEN_S: Final = 5.0
"""Seconds for the first write. Taking back what a killed daemon had in flight may need more, a full disk never ends."""

AGAIN_S: Final = 5.0
"""Seconds until folders or a ledger that a full disk kept shut are tried again, where a service manager waits."""

STATUS_S: Final = 3.0
"""Seconds between two looks at whether the line for ``systemctl status`` has changed."""

REPLIES_S: Final = 0.1
"""Seconds for the replies that say that it ends ("shutdown") to get out before the socket closes."""

AT_START: Final = ("awake", "lockdown", "log_level", "read_group")
"""Settings that a reload does not change: what they decide is made once."""


def begin(places: Places, load: Callable[[], Settings], *, terminal: bool, launchd: bool = False) -> int:
    """Run the daemon to its end; returns its exit code: 0, or ``errors.daemon_exit``.

    ``load`` reads the settings, now and at a reload. ``terminal``: readable log lines on stderr. ``launchd`` restarts
    whatever does not exit with 0, so under it what a restart cannot mend ends with 0, told on stderr and in the log.
    """
    notifier = Notifier.take(os.environ)
    try:
        return _begin(places, load, notifier, terminal, launchd)
    finally:
        notifier.close()


def _begin(places: Places, load: Callable[[], Settings], notifier: Notifier, terminal: bool, launchd: bool) -> int:
    notifier.status("starting")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a reload that comes before there is anything to reload

    def end(*_: object) -> None:
        notifier.stopping()
        raise SystemExit

    for number in (signal.SIGTERM, signal.SIGINT):  # until ``_Conduct`` takes them: the start may wait for a full disk
        signal.signal(number, end)
    try:
        anyio.run(partial(serve, places, load, notifier, terminal=terminal, patient=launchd), backend="asyncio")
    except Exception as error:
        if isinstance(error, IngestError):
            print(error.complaint(), file=sys.stderr)
            notifier.status(error.sentence(), last=True)
        else:
            traceback.print_exception(error)
            notifier.status(f"ended by {type(error).__name__}: {error}", last=True)
        code = daemon_exit(error)
        if launchd and code in NO_RESTART:
            print(f"It is not started again by itself before that (exit 0 for {code})", file=sys.stderr)
            return 0
        return code
    except SystemExit:
        pass  # nothing is under way yet
    notifier.status("ended", last=True)
    return 0


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


def _not_writable(operation: str, folder: Path, error: OSError) -> IngestError:
    passes = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    way = "Free some space on its disk" if passes else "Give the daemon's user the right to write there"
    return (Unavailable if passes else Misconfigured)(
        error.strerror or str(error), operation=operation, object=f"the folder {folder}",
        remedy=f"{way}, or set INGESTD_HOME to another folder",
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
        raise AlreadyRunning(
            f"another ingestd holds it (pid {pid})", operation="use", object=f"the state folder {places.state}",
            remedy="Talk to that one with ingestctl, or end it: ingestctl shutdown",
        ) from None  # fmt: skip
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        pass  # a full disk: the lock holds all the same, the number in it only helps people
    return descriptor


async def serve(
    places: Places, load: Callable[[], Settings], notifier: Notifier, *, terminal: bool, patient: bool = False
) -> None:
    """Run the daemon until it is told to end. Raises ``IngestError`` when it cannot begin.

    ``patient``: a full disk is waited out instead; a service manager, which is told so, is always taken for patient.
    """
    settings = load()
    patient = patient or notifier.heard
    await _when_it_can(lambda: prepare(places), notifier, patient)
    lock = await _when_it_can(lambda: take_lock(places), notifier, patient)
    try:
        log = await _when_it_can(lambda: _log(places, settings["log_level"], terminal), notifier, patient)
    except IngestError:
        os.close(lock)
        raise
    try:
        with adopted(log.logger):
            ledger = await _open(places, log.logger, notifier, patient)
            try:
                await _serve(places, settings, load, ledger, log, notifier, patient)
            finally:
                await anyio.to_thread.run_sync(ledger.close)
    except Exception as error:
        raise _told(error, places, log.logger) from error
    finally:
        log.close()
        os.close(lock)


async def _when_it_can(
    step: Callable[[], T], notifier: Notifier, patient: bool, log: FilteringBoundLogger | None = None
) -> T:
    """What ``step`` returns; where somebody waits for it, as soon as the disk allows.

    A manager that restarts instead gives the daemon up within a minute: its limit of starts is for what dies young.
    """
    while True:
        try:
            return step()
        except Unavailable as error:
            if not patient:
                raise
            if log is not None:
                log.warning("waiting for the ledger", why=error.sentence())
            notifier.status(f"waiting: {error.sentence()}")
            await anyio.sleep(AGAIN_S)


def _log(places: Places, level: str, terminal: bool) -> Log:
    try:
        return open_log(places.log_file, level, terminal)
    except OSError as error:
        raise _not_writable("write the log into", places.log, error) from error


async def _open(places: Places, log: FilteringBoundLogger, notifier: Notifier, patient: bool) -> Ledger:
    notifier.status("opening the ledger")
    ledger = await _when_it_can(lambda: Ledger(places.ledger, SystemClocks().wall_ms()), notifier, patient, log)
    for note in ledger.notes:
        log.warning("ledger", note=note)
    return ledger


async def _serve(
    places: Places, settings: Settings, load: Callable[[], Settings], ledger: Ledger, log: Log, notifier: Notifier,
    patient: bool,
) -> None:  # fmt: skip
    clocks = SystemClocks()
    now, pid = clocks.wall_ms(), os.getpid()
    begun = ledger.write(lambda db: jobs.begin_epoch(db, now, pid, __version__))
    # A later one may wait for space, with a socket to say so; now there is nobody who would be told.
    while not (await asyncio.wait([begun], timeout=OPEN_S))[0]:
        if ledger.trouble:
            if not patient:
                raise _full(places, ledger.trouble)
            notifier.status(f"waiting: {ledger.trouble}")
    epoch = begun.result()
    shared = Shared(ledger, places, clocks, log.logger, epoch, settings)
    await shared.look_for_kinds()
    supervisor = Supervisor(shared, log.dropped)
    await supervisor.load()
    log.logger.info("started", pid=pid, version=__version__, state=str(places.state), epoch=epoch)
    await _Conduct(supervisor, load, places.socket, log, notifier).run()
    log.logger.info("ended", pid=pid)


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


class _Conduct:
    """The one task group: the supervisor's loop, the socket, the signals, and what the service manager is told."""

    def __init__(
        self, supervisor: Supervisor, load: Callable[[], Settings], socket: Path, log: Log, notifier: Notifier
    ) -> None:
        self._supervisor, self._load, self._socket, self._log, self._notifier = supervisor, load, socket, log, notifier
        self._context = VerbContext(supervisor, self._stop)
        self._ready = self._stopping = False

    async def run(self) -> None:
        """Until ``_stop`` is through, or something fails."""
        logger, supervisor = self._log.logger, self._supervisor
        server = Server(verb_table.handlers(self._context), verb_table.streams(self._context), logger)
        listener = Listener(self._socket, supervisor.shared.settings["read_group"])
        async with anyio.create_task_group() as tasks:
            listener.open()
            tasks.start_soon(self._signals, tasks)
            tasks.start_soon(_until_done, supervisor, tasks)
            await supervisor.serving.wait()
            tasks.start_soon(server.serve, listener)
            if self._notifier.heard:
                await _answers(self._socket)
                if not self._stopping:
                    self._ready = True
                    self._notifier.ready()
                tasks.start_soon(self._tell)
                tasks.start_soon(beat, self._notifier, supervisor.settled, self._pulse)
        listener.close()

    async def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._log.logger.info("stopping")
            self._notifier.stopping()
            self._notifier.status("stopping: what is in the model finishes, the rest is given back")
        await self._supervisor.close()

    async def _signals(self, tasks: anyio.abc.TaskGroup) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                self._log.logger.info("signal", name=signal.Signals(number).name)
                if number == signal.SIGHUP:
                    self._reload()
                else:
                    tasks.start_soon(self._stop)

    def _reload(self) -> None:
        """A log file begun anew, the configuration read again; one with a mistake in it changes nothing."""
        if self._ready:
            self._notifier.reloading()
        self._log.reopen()
        before = self._supervisor.shared.settings
        try:
            settings = self._load()
        except Misconfigured as error:
            self._log.logger.error("configuration not reloaded", why=error.sentence())
        else:
            self._supervisor.shared.settings = settings
            changed = [key for key in settings.values if settings[key] != before[key]]
            now, later = [k for k in changed if k not in AT_START], [k for k in changed if k in AT_START]
            self._log.logger.info("reloaded", changed=now, at_the_next_start=later)
        if self._ready and not self._stopping:
            self._notifier.ready()

    async def _tell(self) -> None:
        while not self._stopping:
            self._notifier.status(status_line(self._supervisor))
            await anyio.sleep(STATUS_S)

    async def _pulse(self) -> None:
        await self._supervisor.ledger.pulse()


async def _answers(socket: Path) -> None:
    """Return when the control socket has answered, asked as a client asks."""
    async with await anyio.connect_unix(socket) as stream:
        await stream.send(b'{"jsonrpc": "2.0", "id": 1, "method": "hello"}\n')
        await stream.receive()


async def _until_done(supervisor: Supervisor, tasks: anyio.abc.TaskGroup) -> None:
    async with anyio.create_task_group() as children:
        try:
            await supervisor.run(children)
        except BaseException:
            supervisor.shared.children.kill_all()  # a child is waited for, so it must not outlive its supervisor
            raise
        await anyio.sleep(REPLIES_S)
        children.cancel_scope.cancel()
    tasks.cancel_scope.cancel()
