"""How quickly ``status`` is answered while something else goes on, measured from a process of its own.

``python -m tests.fuzz.probe SOCKET PID SECONDS``: a new connection and a ``status`` every ``SECONDS``, until stdin
ends; then one line of JSON. The kernel tells how long the threads of the daemon and of this process ran, and how long
they stood ready to run while others had the cores (proc(5), ``schedstat``): of each answer's time the second is the
machine's share, and told apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.daemonkit import Daemon

ROOT = Path(__file__).resolve().parents[2]
ASK = b'{"jsonrpc":"2.0","id":1,"method":"status"}\n'


@dataclass(frozen=True)
class Latency:
    """Milliseconds from ``connect`` to the whole reply.

    ``own`` is the 99th percentile of what is left without waiting for a core, and at least what the daemon computed
    meanwhile: several threads may wait at once. ``lost`` counts connections that ended without an answer.
    """

    n: int
    median: float
    p99: float
    max: float
    own: float
    lost: int

    def __str__(self) -> str:
        return (
            f"status over {self.n}: median {self.median:.1f} ms, p99 {self.p99:.1f} ms, max {self.max:.1f} ms"
            f" (p99 {self.own:.1f} ms without waiting for a core), {self.lost} without an answer"
        )


@contextlib.contextmanager
def watched(daemon: Daemon, every: float = 0.02) -> Iterator[list[Latency]]:
    """While the block runs, ``status`` is asked; the list holds the one result when it has ended."""
    found: list[Latency] = []
    command = [sys.executable, "-m", "tests.fuzz.probe", daemon.socket, str(daemon.pid), str(every)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield found
    finally:
        out, _ = process.communicate(timeout=120)
        found.append(Latency(**json.loads(out)))


def _ask(path: str) -> float:
    """Seconds, or infinity when the connection ends without a result."""
    began = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)  # waits where one with a timeout would be refused: the queue may be full
            sock.settimeout(60)
            sock.sendall(ASK)
            data = b""
            while not data.endswith(b"\n"):
                received = sock.recv(1 << 18)
                if not received:
                    return float("inf")
                data += received
        except (ConnectionError, TimeoutError):
            return float("inf")
    return time.perf_counter() - began if b'"result"' in data[:100] else float("inf")


def _scheduled(pid: int) -> tuple[float, float]:
    """Milliseconds that a process's threads ran, and that they were ready to run and had no core, since they began."""
    ran = waited = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/schedstat") as file:
            numbers = file.read().split()
            ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
    return ran / 1e6, waited / 1e6


def main() -> None:
    path, pid, every = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    print("ready", flush=True)
    taken, own = [], []
    while not select.select([sys.stdin], [], [], every)[0]:
        before, before_here = _scheduled(pid), _scheduled(os.getpid())
        taken.append(_ask(path) * 1000)
        after, after_here = _scheduled(pid), _scheduled(os.getpid())
        waited = after[1] - before[1] + after_here[1] - before_here[1]
        own.append(min(taken[-1], max(after[0] - before[0], taken[-1] - waited)))
    answered = sorted(t for t in taken if t != float("inf"))
    print(json.dumps({
        "n": len(taken), "median": answered[len(answered) // 2], "p99": answered[len(answered) * 99 // 100],
        "max": answered[-1], "own": sorted(own)[len(own) * 99 // 100], "lost": len(taken) - len(answered),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
