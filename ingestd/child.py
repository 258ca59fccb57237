"""How every child begins: the inherited socket, hello, the death signal, the check that the parent still lives.

A child is started as ``python -m ingestd.<room> --fd N``. Messages travel on that descriptor alone; stdout and stderr
belong to whatever libraries print and go line by line into the daemon's log. When the socket ends the process ends,
at once: the ledger is the truth, so there is nothing in a child worth saving.
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

from ingestd.errors import IngestError, Misconfigured, ProtocolError, Unavailable
from ingestd.protocol.wire import FrameReader, frame
from ingestd.protocol.work import Fatal, Hello

In = TypeVar("In")

_PR_SET_PDEATHSIG = 1
_EXIT_PARENT_GONE = 70


class Channel(Generic[In]):
    """The child's end of its socket. ``send`` may be called from any thread; ``receive`` gives messages in order."""

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[In]) -> None:
        self._sock = sock
        self._decoder = decoder
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[In] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="channel", daemon=True).start()

    def send(self, message: msgspec.Struct) -> None:
        """Send one message, whole; blocks while the daemon is not reading."""
        data = frame(self._encoder.encode(message))
        with self._lock:
            try:
                self._sock.sendall(data)
            except OSError:
                os._exit(_EXIT_PARENT_GONE)

    def receive(self, timeout: float | None = None) -> In | None:
        """The next message; None when ``timeout`` seconds pass without one (0: only what is there already)."""
        try:
            return self._inbox.get(timeout=timeout) if timeout != 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _read(self) -> None:
        frames = FrameReader()
        while True:
            try:
                data = self._sock.recv(1 << 16)
                bodies = list(frames.feed(data))
                for body in bodies:
                    self._inbox.put(self._decoder.decode(body))
            except (OSError, ProtocolError, msgspec.DecodeError) as error:
                if not isinstance(error, OSError):
                    print(f"channel: {error}", file=sys.stderr, flush=True)
                data = b""
            if not data:
                os._exit(_EXIT_PARENT_GONE)


def run_child(kind: str, incoming: Any, main: Callable[[Channel[Any]], None]) -> None:
    """Begin as a child and run ``main`` with its channel. Never returns.

    ``incoming`` is the union of message types that this child is sent. An ``IngestError`` from ``main`` becomes a
    ``Fatal`` of its kind and exit code 1; any other exception leaves its traceback on stderr, a ``Fatal`` of kind
    ``crash`` and exit code 1. A clean return exits 0. Exit is by ``os._exit`` so that no library's teardown or
    stray thread can keep the process alive.
    """
    parent = int(sys.argv[sys.argv.index("--parent") + 1])
    sock = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    _die_with_parent(parent)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel: Channel[Any] = Channel(sock, msgspec.msgpack.Decoder(incoming))
    channel.send(Hello(kind, os.getpid(), _process_start()))
    code = 1
    try:
        main(channel)
        code = 0
    except IngestError as error:
        channel.send(_fatal(error))
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        channel.send(
            Fatal(
                "crash",
                f"{type(error).__name__}: {error}"[:500],
                operation="run",
                object=f"the {kind} process",
                remedy="The log holds its last lines",
            )
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _fatal(error: IngestError) -> Fatal:
    kind = {Misconfigured: "misconfigured", Unavailable: "unavailable"}.get(type(error), "crash")
    return Fatal(kind, error.message, error.operation, error.object, error.remedy)  # type: ignore[arg-type]


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
