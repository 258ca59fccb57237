"""What the service manager is told: real datagrams, to a path or to an abstract address, and never an exception."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import anyio
import pytest

from ingestd.host import notify, watchdog
from ingestd.host.notify import Notifier

PID = 4321


@pytest.fixture
def manager() -> Iterator[tuple[socket.socket, str]]:
    """A socket as a service manager has it, in a folder whose name is short enough for one."""
    with tempfile.TemporaryDirectory(prefix="notify-", dir="/tmp") as folder, datagrams() as sock:
        sock.bind(f"{folder}/s")
        sock.settimeout(10)
        yield sock, f"{folder}/s"


def datagrams() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


Make = Callable[..., Notifier]
Manager = tuple[socket.socket, str]


@pytest.fixture
def make() -> Iterator[Make]:
    """Notifiers from an environment, closed at the end."""
    with ExitStack() as stack:
        yield lambda environ: stack.enter_context(closing(Notifier(environ, PID)))


def test_every_message_is_what_the_manual_says(manager: Manager, make: Make) -> None:
    """The words of sd_notify(3), one datagram each; a status on one line, and not twice."""
    sock, address = manager
    notifier = make({"NOTIFY_SOCKET": address})
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.status("two\nlines\tand a \udcff")
    notifier.status("two lines and a \udcff")
    notifier.ready()
    notifier.reloading()
    notifier.alive()
    notifier.stopping()
    assert notifier.heard
    assert sock.recv(4096) == b"STATUS=two lines and a ?"
    assert sock.recv(4096) == b"READY=1"
    word, stamp = sock.recv(4096).decode().split("\n")
    assert word == "RELOADING=1"
    assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert sock.recv(4096) == b"WATCHDOG=1"
    assert sock.recv(4096) == b"STOPPING=1"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_an_abstract_address(make: Make) -> None:
    """An @ stands for the zero byte, as containers have it."""
    with datagrams() as sock:
        sock.bind(f"\0ingestd-test-{os.getpid()}")
        sock.settimeout(10)
        make({"NOTIFY_SOCKET": f"@ingestd-test-{os.getpid()}"}).ready()
        assert sock.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "vsock:2:1", "@nobody-there", "/" + "x" * 300])
def test_nobody_there_is_no_error(address: str, make: Make) -> None:
    """A manager that is gone, or of another kind, costs nothing."""
    notifier = make({"NOTIFY_SOCKET": address} if address else {})
    assert notifier.heard is address.startswith(("/", "@"))
    for say in (notifier.ready, notifier.reloading, notifier.alive, notifier.stopping):
        say()
    notifier.status("x" * 10_000, last=True)


def test_a_full_queue_blocks_nobody(manager: Manager, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager does not read: signs of life are dropped at once, what must arrive waits its bounded time."""
    monkeypatch.setattr(notify, "SEND_S", 0.2)
    notifier = make({"NOTIFY_SOCKET": manager[1]})
    begun = time.monotonic()
    for _ in range(20_000):
        notifier.alive()
    assert time.monotonic() - begun < 5
    begun = time.monotonic()
    notifier.ready()
    assert 0.1 < time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(PID)}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),  # meant for the process that started this one
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_whose_watchdog_it_is(variables: dict[str, str], seconds: float | None, manager: Manager, make: Make) -> None:
    """WATCHDOG_PID is honoured, and nonsense means none; without a socket there is nobody to show life to."""
    assert make({"NOTIFY_SOCKET": manager[1], **variables}).watchdog_s == seconds
    assert make(variables).watchdog_s is None


def test_children_have_no_part_in_it(manager: Manager) -> None:
    """The variables are gone from what children inherit, and the descriptor is not theirs."""
    environ = {"NOTIFY_SOCKET": manager[1], "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    notifier = Notifier.take(environ)
    assert environ == {"HOME": "/"}
    assert notifier.watchdog_s == 1e-6
    assert notifier._socket is not None
    code = f"import os, sys; sys.exit(os.path.exists('/dev/fd/{notifier._socket.fileno()}'))"
    try:
        assert subprocess.run([sys.executable, "-c", code], close_fds=False).returncode == 0
    finally:
        notifier.close()


def beats_of(sock: socket.socket) -> int:
    """Signs of life that wait to be read."""
    sock.setblocking(False)
    count = 0
    try:
        while sock.recv(64) == b"WATCHDOG=1":
            count += 1
    except BlockingIOError:
        return count
    raise AssertionError("something else was said")


def test_a_sign_of_life_is_the_end_of_a_round(manager: Manager, make: Make) -> None:
    """None before every round has come back, none any more when one does not, and again when it does."""

    async def main() -> None:
        sock, address = manager
        notifier = make({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "40000"})
        entered, free = anyio.Event(), anyio.Event()
        free.set()

        async def through() -> None:
            entered.set()
            await free.wait()

        async def first() -> None:
            await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watchdog.beat, notifier, first, through)
            while not beats_of(sock):
                await anyio.sleep(0.01)
            entered, free = anyio.Event(), anyio.Event()
            await entered.wait()
            beats_of(sock)
            await anyio.sleep(0.2)
            assert beats_of(sock) == 0
            free.set()
            while not beats_of(sock):
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    anyio.run(main)


def test_without_a_watchdog_nothing_beats(manager: Manager, make: Make) -> None:
    """The manager asked for no signs: the rounds are not even made."""

    async def never() -> None:
        raise AssertionError("a round was made")

    anyio.run(watchdog.beat, make({"NOTIFY_SOCKET": manager[1]}), never)
