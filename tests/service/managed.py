"""A real daemon with the test as its service manager: it is given a notification socket, and what it says is kept."""

from __future__ import annotations

import ctypes
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.daemon.house import HastyDaemon

STATUS_S = {"ingestd.daemon.STATUS_S": 0.1}
_PTRACE_DETACH, _PTRACE_SEIZE, _PTRACE_INTERRUPT = 17, 0x4206, 0x4207
_WALL = 0x40000000


class Managed(HastyDaemon):
    """``heard``: every message so far, each with the moment (monotonic) at which it came. ``rig``: Python that its
    program begins with, to put the daemon where a test wants it."""

    def __init__(self, home: Path, watchdog_s: float = 0, constants: Mapping[str, float] = {}, rig: str = "") -> None:
        super().__init__(home, STATUS_S | dict(constants))
        self._rig = rig
        home.mkdir(parents=True, exist_ok=True)
        self.heard: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(home / "notify"))
        self.env["NOTIFY_SOCKET"] = str(home / "notify")
        if watchdog_s:
            self.env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def code(self) -> str:
        return f"{self._rig}\n{super().code()}"

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self.heard.append((time.monotonic(), message.decode()))

    def close(self) -> None:
        """End the daemon and stop listening."""
        self.end()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.home / "notify"))
        self._listener.join(10)
        self._socket.close()

    def messages(self, word: str) -> list[str]:
        """The values that were told of ``word``, in their order."""
        lines = [line for _, text in list(self.heard) for line in text.split("\n")]
        return [line.partition("=")[2] for line in lines if line.startswith(f"{word}=")]

    def beats(self) -> int:
        return len(self.messages("WATCHDOG"))

    def more_beats(self, count: int = 3) -> None:
        """Until that many signs of life have come from now on."""
        before = self.beats()
        self.wait_for(lambda: self.beats() >= before + count)

    def no_beats(self, seconds: float) -> None:
        """None in that time, one that was under way left out. A time and no condition: what is awaited is silence."""
        time.sleep(0.3)
        before = self.beats()
        time.sleep(seconds)
        assert self.beats() == before

    def begin(self) -> None:
        """Start it without waiting for an answer."""
        with open(self.home / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-c", self.code()],
                env=self.env, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
            )  # fmt: skip


@contextmanager
def managed(home: Path, watchdog_s: float = 0, constants: Mapping[str, float] = {}) -> Iterator[Managed]:
    """A daemon that was made, not started; ended at the end."""
    daemon = Managed(home, watchdog_s, constants)
    try:
        yield daemon
    finally:
        daemon.close()


@contextmanager
def threads_stopped(pid: int) -> Iterator[None]:
    """Every thread of ``pid`` but its first stands still, by the kernel: as if each hung in a call that never returns.

    One thread of this process does it all, since only the thread that has stopped another may let it go again.
    """
    tasks: queue.Queue[Callable[[], None]] = queue.Queue()
    done: queue.Queue[BaseException | None] = queue.Queue()

    def work() -> None:
        while True:
            try:
                tasks.get()()
                done.put(None)
            except StopIteration:
                return
            except BaseException as error:
                done.put(error)

    def perform(task: Callable[[], None]) -> None:
        tasks.put(task)
        if error := done.get(timeout=30):
            raise error

    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    stopped: list[int] = []

    def ptrace(request: int, thread: int) -> None:
        if libc.ptrace(request, thread, None, None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def stop() -> None:
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            if thread != pid:
                ptrace(_PTRACE_SEIZE, thread)
                ptrace(_PTRACE_INTERRUPT, thread)
                os.waitpid(thread, _WALL)
                stopped.append(thread)

    def let_go() -> None:
        for thread in stopped:
            ptrace(_PTRACE_DETACH, thread)

    def end() -> None:
        raise StopIteration

    tracer = threading.Thread(target=work, daemon=True)
    tracer.start()
    try:
        perform(stop)
        assert stopped
        yield
    finally:
        perform(let_go)
        tasks.put(end)
        tracer.join(10)
