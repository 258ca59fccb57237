"""How every child begins: the inherited socket, hello, the death signal, the check that the parent lives, the lock.

A child is started as ``python -m MODULE --fd N``. Messages travel on that descriptor alone; stdout and stderr belong to
whatever libraries print and go line by line into the daemon's log.

With ``--lockdown auto`` the first message is read before any thread begins: it says what the child is for, so what it
may touch, and all else is given up (``lockdown``) before a library is loaded for it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ingestd import lockdown
from ingestd.child_channel import EXIT_PARENT_GONE, Channel, PeerGone
from ingestd.errors import IngestError, Misconfigured, Unavailable
from ingestd.protocol.work import Fatal, Hello, Locked

_PR_SET_PDEATHSIG = 1

Main = Callable[[Channel[Any]], None]
Access = Callable[[Any], lockdown.Access | None]


def run_child(kind: str, incoming: Any, main: Main, access: Access | None = None) -> None:
    """Begin as a child and run ``main`` with its channel. Never returns.

    ``incoming`` is the union of message types that this child is sent. ``access`` says by its first message what the
    child may touch, None for a message that does not tell. Exit is by ``os._exit`` so that no library's teardown or
    stray thread can keep the process alive; the codes are those of ``perform``.
    """
    parent = int(_option("--parent"))
    sock = socket.socket(fileno=int(_option("--fd")))
    _die_with_parent(parent)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    locked = _option("--lockdown") == "auto"
    code = perform(kind, Channel(sock, incoming), main, access if locked else None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def perform(kind: str, channel: Channel[Any], main: Main, access: Access | None = None) -> int:
    """A child's whole conversation: hello, the lock where ``access`` is given, then ``main``. Returns the exit code.

    A clean return of ``main`` is 0. An ``IngestError`` from it becomes a ``Fatal`` of its kind, and 1; any other
    exception leaves its traceback on stderr, a ``Fatal`` of kind ``crash``, and 1.
    """
    channel.send(Hello(kind, os.getpid(), _process_start()))
    try:
        progress = None
        if access is not None:
            applied = lockdown.apply(channel.await_one(access))
            progress = applied.progress
            channel.send(Locked(applied.force, applied.missing))
        channel.start(progress)
        main(channel)
    except PeerGone:
        raise
    except IngestError as error:
        channel.send(fatal(error, kind))
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        channel.send(
            Fatal(
                "crash",
                f"{type(error).__name__}: {error}"[:500],
                operation="run",
                object=f"the {kind} process",
                remedy="The log holds its last lines" + _the_lock(error),
            )
        )
    else:
        return 0
    return 1


def fatal(error: IngestError, child: str) -> Fatal:
    """What a child of this kind says of an error that ends it. A subclass of a kind of error is of that kind."""
    message = Fatal("crash", error.message, error.operation, error.object, error.remedy + _the_lock(error))
    if isinstance(error, Misconfigured):
        message.kind = "misconfigured"
    elif isinstance(error, Unavailable):
        message.kind = "unavailable"
    if child == "sink" and lockdown.blamed(error):
        message.kind = "unavailable"  # its disk was mounted after the lock fell: a new process has a new lock
    return message


def _option(name: str) -> str:
    """The word after ``name`` on the command line; "" without it."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else ""


def _the_lock(error: BaseException) -> str:
    """What to add to a remedy where the lock may be what denied something."""
    return (
        f". If it is the lock of child processes that forbids it: {lockdown.SWITCH}" if lockdown.blamed(error) else ""
    )


def _die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent dies; where it cannot (macOS), watch the parent from a thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before the request was in force
        os._exit(EXIT_PARENT_GONE)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(EXIT_PARENT_GONE)


def _process_start() -> float:
    """Seconds since the epoch at which this process began, from the kernel where it says, else now."""
    try:
        with open("/proc/self/stat", "rb") as stat, open("/proc/stat", "rb") as boot:
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
            btime = next(int(line.split()[1]) for line in boot if line.startswith(b"btime"))
        return btime + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, ValueError):
        return time.time()
