"""How every child begins: the inherited socket, hello, the death signal, the check that the parent lives, the lock.

A child is started as ``python -m ingestd.<room> --fd N``. Messages travel on that descriptor alone; stdout and stderr
belong to whatever libraries print and go line by line into the daemon's log. When the socket ends the process ends,
at once: the ledger is the truth, so there is nothing in a child worth saving.

With ``--lockdown auto`` the first message is read before any thread begins: it says what the child is for, so what it
may touch, and all else is given up (``lockdown``) before a library is loaded for it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from ingestd import lockdown
from ingestd.errors import IngestError, Misconfigured, ProtocolError, Unavailable
from ingestd.protocol.wire import FrameReader, frame
from ingestd.protocol.work import Fatal, Hello, Locked

In = TypeVar("In")
T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_EXIT_PARENT_GONE = 70


class Channel(Generic[In]):
    """The child's end of its socket. ``send`` may be called from any thread; ``receive`` gives messages in order."""

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[In]) -> None:
        self._sock = sock
        self._decoder = decoder
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()
        self._frames = FrameReader()
        self._inbox: queue.SimpleQueue[In] = queue.SimpleQueue()
        self._progress: Callable[[], None] | None = None

    def start(self, progress: Callable[[], None] | None = None) -> None:
        """Read from now on in a thread; ``progress`` is called with each message that is sent."""
        self._progress = progress
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    def await_one(self, wanted: Callable[[In], T | None]) -> T:
        """Before ``start``: read until ``wanted`` says something of a message. All are received later, in order."""
        while True:
            messages = self._take()
            for message in messages:
                self._inbox.put(message)
            for message in messages:
                if (found := wanted(message)) is not None:
                    return found

    def send(self, message: msgspec.Struct) -> None:
        """Send one message, whole; blocks while the daemon is not reading."""
        data = frame(self._encoder.encode(message))
        with self._lock:
            try:
                self._sock.sendall(data)
            except OSError:
                os._exit(_EXIT_PARENT_GONE)
        if self._progress is not None:
            self._progress()

    def receive(self, timeout: float | None = None) -> In | None:
        """The next message; None when ``timeout`` seconds pass without one (0: only what is there already)."""
        try:
            return self._inbox.get(timeout=timeout) if timeout != 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _read(self) -> None:
        while True:
            for message in self._take():
                self._inbox.put(message)

    def _take(self) -> list[In]:
        """What arrives next, decoded; where nothing will, this process ends."""
        try:
            data = self._sock.recv(1 << 16)
            messages = [self._decoder.decode(body) for body in self._frames.feed(data)]
        except (OSError, ProtocolError, msgspec.DecodeError) as error:
            if not isinstance(error, OSError):
                print(f"channel: {error}", file=sys.stderr, flush=True)
            data = b""
        if not data:
            os._exit(_EXIT_PARENT_GONE)
        return messages


def run_child(
    kind: str,
    incoming: Any,
    main: Callable[[Channel[Any]], None],
    access: Callable[[Any], lockdown.Access | None] | None = None,
) -> None:
    """Begin as a child and run ``main`` with its channel. Never returns.

    ``incoming`` is the union of message types that this child is sent. ``access`` says by its first message what the
    child may touch, None for a message that does not tell. An ``IngestError`` from ``main`` becomes a
    ``Fatal`` of its kind and exit code 1; any other exception leaves its traceback on stderr, a ``Fatal`` of kind
    ``crash`` and exit code 1. A clean return exits 0. Exit is by ``os._exit`` so that no library's teardown or
    stray thread can keep the process alive.
    """
    parent = int(_option("--parent"))
    sock = socket.socket(fileno=int(_option("--fd")))
    _die_with_parent(parent)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel: Channel[Any] = Channel(sock, msgspec.msgpack.Decoder(incoming))
    channel.send(Hello(kind, os.getpid(), _process_start()))
    code = 1
    try:
        progress = None
        if access is not None and _option("--lockdown") == "auto":
            applied = lockdown.apply(channel.await_one(access))
            progress = applied.progress
            channel.send(Locked(applied.force, applied.missing))
        channel.start(progress)
        main(channel)
        code = 0
    except IngestError as error:
        channel.send(_fatal(error, kind))
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
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _option(name: str) -> str:
    """The word after ``name`` on the command line; "" without it."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else ""


def _fatal(error: IngestError, child: str) -> Fatal:
    kind = {Misconfigured: "misconfigured", Unavailable: "unavailable"}.get(type(error), "crash")
    if child == "sink" and lockdown.blamed(error):
        kind = "unavailable"  # its disk was mounted after the lock fell: a new process has a new lock
    return Fatal(kind, error.message, error.operation, error.object, error.remedy + _the_lock(error))  # type: ignore[arg-type]


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
        os._exit(_EXIT_PARENT_GONE)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(_EXIT_PARENT_GONE)


def _process_start() -> float:
    """Seconds since the epoch at which this process began, from the kernel where it says, else now."""
    try:
        with open("/proc/self/stat", "rb") as stat, open("/proc/stat", "rb") as boot:
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
            btime = next(int(line.split()[1]) for line in boot if line.startswith(b"btime"))
        return btime + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, ValueError):
        return time.time()
