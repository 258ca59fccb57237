"""Many clients, slow ones, and ones that vanish: ``status`` is answered all the while, and everything is given back."""

from __future__ import annotations

import json
import random
import resource
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.daemon.house import Wire
from tests.daemonkit import Daemon
from tests.fuzz.conftest import LONG, SEED, Bounds
from tests.fuzz.probe import Latency, watched

STATUS_MS = 250
MIB = 1024 * 1024
CONNECTIONS = 10_000
LINE = 1024 * MIB if LONG else 128 * MIB
HELLO = b'{"jsonrpc":"2.0","id":1,"method":"hello"}\n'


def _connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)  # waits where the queue is full
    return sock


def _silent(sock: socket.socket) -> None:
    """It says nothing."""


def _half_a_frame(sock: socket.socket) -> None:
    sock.send(HELLO[:20])


def _half_closed(sock: socket.socket) -> None:
    sock.send(HELLO.rstrip())
    sock.shutdown(socket.SHUT_WR)


def _asks_and_stays(sock: socket.socket) -> None:
    sock.send(HELLO)


def _waits(sock: socket.socket) -> None:
    sock.send(b'{"id":1,"method":"subscribe"}\n')


def _asks_much(sock: socket.socket) -> None:
    sock.send(b'{"id":1,"method":"failed","params":{"job":"kept"}}\n')


def _vanishes(sock: socket.socket) -> None:
    sock.send(random.choice([HELLO, HELLO[:7], b'{"id":1,"method":"failed","params":{"job":"kept"}}\n', b"\n\n"]))
    sock.close()


KINDS: tuple[Callable[[socket.socket], None], ...] = (
    _silent, _half_a_frame, _half_closed, _asks_and_stays, _waits, _asks_much, _vanishes,
)  # fmt: skip


def _checked(name: str, latency: Latency, daemon: Daemon, bounds: Bounds, memory: int) -> None:
    """The figures, and the three promises."""
    print(f"\nseed {SEED} {name}: {latency}; memory {bounds.memory >> 20} -> {bounds.peak() >> 20} MiB", end=" ")
    assert latency.lost == 0
    assert latency.own <= STATUS_MS, latency
    assert bounds.peak() - bounds.memory < memory
    assert daemon.call("hello")["pid"] == daemon.pid
    bounds.restored()


def test_ten_thousand_connections(fuzzed: Daemon, bounds: Bounds) -> None:
    """As fast as they can be made, as many open at once as this process may have, of every kind: none disturbs."""
    rng = random.Random(f"{SEED} crowd")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    at_once = min(CONNECTIONS, soft - 200)
    held: list[socket.socket] = []
    with watched(fuzzed) as latency:
        for _ in range(CONNECTIONS):
            sock = _connect(fuzzed.socket)
            try:
                rng.choice(KINDS)(sock)
            except (BrokenPipeError, ConnectionResetError):
                pass  # pushed out before it spoke
            held.append(sock)
            if len(held) > at_once:
                held.pop(0).close()
        time.sleep(0.5)  # the last of them are there, and status is asked beside them
        most = bounds.now()
        for sock in held:
            sock.close()
    print(f"\n{at_once} at once, {most} descriptors", end=" ")
    _checked("10,000 connections", latency[0], fuzzed, bounds, 96 * MIB)


@dataclass
class Dawdler:
    """A client that does something small now and then, until the daemon has enough of it."""

    sock: socket.socket
    step: Callable[[socket.socket], None]


def _drips(sock: socket.socket) -> None:
    sock.send(b"x")


def _sips(sock: socket.socket) -> None:
    sock.recv(100)


def test_slow_senders_and_slow_readers(fuzzed: Daemon, bounds: Bounds) -> None:
    """A byte now and then, in either direction: 200 who never finish a line, 60 who ask for megabytes and sip them."""
    slow = [Dawdler(_connect(fuzzed.socket), _drips) for _ in range(200)]
    much = b'{"id":1,"method":"failed","params":{"job":"kept"}}\n' * 200
    for _ in range(60):
        slow.append(Dawdler(_connect(fuzzed.socket), _sips))
        slow[-1].sock.sendall(much)
    for one in slow:
        one.sock.setblocking(False)
    with watched(fuzzed) as latency:
        until = time.monotonic() + (15 if LONG else 4)
        while time.monotonic() < until:
            for one in list(slow):
                try:
                    one.step(one.sock)
                except BlockingIOError:
                    pass
                except OSError:
                    slow.remove(one)  # the daemon has closed it
                    one.sock.close()
            time.sleep(0.1)
    sipping = sum(one.step is _sips for one in slow)
    for one in slow:
        one.sock.close()
    assert sipping > 50, "a slow reader has its time"
    _checked("slow ones", latency[0], fuzzed, bounds, 64 * MIB)


@pytest.mark.timeout(600)
def test_a_line_without_an_end_is_never_held(fuzzed: Daemon, bounds: Bounds) -> None:
    """A gigabyte in one line is one error, costs no memory, and the same connection is answered afterwards."""
    block = b"[" * MIB
    with watched(fuzzed) as latency, Wire(fuzzed, 300) as wire:
        for _ in range(LINE // MIB):
            wire.send(block)
        wire.send(b"\n")
        first = wire.line()
        assert first is not None
        assert "65536" in first["error"]["message"]
        assert wire.reply("hello")["result"]["pid"] == fuzzed.pid
    _checked(f"a line of {LINE // MIB} MiB", latency[0], fuzzed, bounds, 16 * MIB)


def test_requests_without_pause_from_all_places(fuzzed: Daemon, bounds: Bounds) -> None:
    """64 clients that ask as fast as they are answered share the daemon with the one who asks now and then."""
    ask = json.dumps({"id": 1, "method": "status"}).encode() + b"\n"
    selector = selectors.DefaultSelector()
    for _ in range(60):
        sock = _connect(fuzzed.socket)
        selector.register(sock, selectors.EVENT_READ)
        sock.sendall(ask * 5)
    answered = 0
    with watched(fuzzed) as latency:
        until = time.monotonic() + (15 if LONG else 3)
        while time.monotonic() < until:
            for key, _ in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                lines = key.fileobj.recv(1 << 18).count(b"\n")
                answered += lines
                key.fileobj.sendall(ask * lines)
    for key in list(selector.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    selector.close()
    print(f"\n{answered} answers", end=" ")
    assert answered > 100
    _checked("60 without pause", latency[0], fuzzed, bounds, 64 * MIB)
