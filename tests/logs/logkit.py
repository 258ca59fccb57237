"""What the log's tests share: a socket that stands in for journald's, targets that misbehave, lines read back."""

from __future__ import annotations

import array
import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ingestd.logs.lines import Line, make_line
from ingestd.logs.log_queue import TargetGone
from ingestd.logs.opening import logger_to


def line(event: str = "an event", level: str = "info", **fields: Any) -> Line:
    return make_line(level, {"event": event, **fields})


class Shelf:
    """An outlet that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def put(self, line: Line) -> None:
        self.lines.append(line)

    debug = info = warning = error = critical = exception = put


def logged(call: Callable[[Any], object], level: str = "debug", secrets: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What ``call`` logs, as a reader of the JSON sees it."""
    shelf = Shelf()
    call(logger_to(shelf, level, secrets))
    return [json.loads(one.text) for one in shelf.lines]


class Gate:
    """A target that stands still while it is shut, and is full or gone when it is told so."""

    name = "gate"

    def __init__(self) -> None:
        self.open = threading.Event()
        self.full = False
        self.gone = False
        self.reopened = 0
        self.closed = False
        self.taken: list[dict[str, Any]] = []
        self.tried = 0

    def write(self, line: Line) -> None:
        self.tried += 1
        self.open.wait()
        if self.gone:
            raise TargetGone
        if self.full:
            raise OSError(28, os.strerror(28))
        self.taken.append(json.loads(line.text))

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.taken]

    def reopen(self) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed = True


class JournalSocket:
    """A bound datagram socket, read as the protocol says: fields from the payload, or from a sealed memory file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(os.fspath(path))
        self.sock.settimeout(20)

    def close(self) -> None:
        self.sock.close()
        self.path.unlink(missing_ok=True)

    @contextmanager
    def reading(self) -> Iterator[list[dict[str, list[bytes]]]]:
        """Read all the time, as journald does: the kernel holds only some entries. Complete after the block."""
        found: list[dict[str, list[bytes]]] = []
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                if select.select([self.sock], [], [], 0.02)[0]:
                    found.append(self.entry())

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join(20)
            found.extend(self.queue())

    def entry(self) -> dict[str, list[bytes]]:
        """The next entry: each field's values, in order."""
        data, ancillary, _, _ = self.sock.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        self.from_file = bool(ancillary)
        if ancillary:
            assert data == b""
            ((_, kind, raw),) = ancillary
            assert kind == socket.SCM_RIGHTS
            (handle,) = array.array("i", raw)
            with open(handle, "rb") as file:
                self.seals = _seals(handle)
                data = os.pread(file.fileno(), os.fstat(handle).st_size, 0)
        return parse(data)

    def queue(self) -> list[dict[str, list[bytes]]]:
        """Every entry that is there already."""
        found = []
        self.sock.setblocking(False)
        try:
            while True:
                found.append(self.entry())
        except BlockingIOError:
            return found
        finally:
            self.sock.settimeout(20)


def fill(path: Path) -> None:
    """Send to the socket at ``path``, which nobody reads, until the kernel holds no more for it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            while True:
                sock.sendto(b"MESSAGE=x\n", os.fspath(path))
        except BlockingIOError:
            pass


def _seals(handle: int) -> int:
    import fcntl

    return fcntl.fcntl(handle, fcntl.F_GET_SEALS)


def parse(data: bytes) -> dict[str, list[bytes]]:
    """The wire's form, read strictly; each field may be there several times."""
    fields: dict[str, list[bytes]] = {}
    while data:
        head, newline, data = data.partition(b"\n")
        assert newline, f"a field without its end: {head!r}"
        key, equals, value = head.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", data[:8])
            value, end, data = data[8 : 8 + size], data[8 + size : 9 + size], data[9 + size :]
            assert end == b"\n"
            assert len(value) == size
        assert key.decode().replace("_", "").isalnum()
        assert key.isupper()
        assert not key.startswith(b"_")
        fields.setdefault(key.decode(), []).append(value)
    return fields


def wait_for(condition: Callable[[], bool], timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
