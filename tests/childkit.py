"""Drives one real child process over its socket, synchronously, the way the daemon does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from ingestd.protocol.wire import FrameReader, decoder, frame


class Child:
    """A child under test: ``send`` messages, ``expect`` the next one of a type, look at its exit.

    ``words`` follow on its command line: ``--lockdown auto`` has it give up what it does not need. ``prefix`` is a
    command that becomes it.
    """

    def __init__(
        self, module: str, outgoing: Any, env: dict[str, str] | None = None, words: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:  # fmt: skip
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", module, "--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
        self.process = subprocess.Popen(
            [*prefix, *command, *words],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})},
        )
        theirs.close()
        self._sock = ours
        self._frames = FrameReader()
        self._decoder = decoder(outgoing)
        self._inbox: list[Any] = []

    def send(self, message: msgspec.Struct) -> None:
        self._sock.sendall(frame(msgspec.msgpack.encode([message])))

    def receive(self, timeout: float = 60) -> Any:
        """The next message, or None when the child's socket has ended."""
        deadline = time.monotonic() + timeout
        while not self._inbox:
            self._sock.settimeout(max(0.01, deadline - time.monotonic()))
            data = self._sock.recv(1 << 16)
            if not data:
                return None
            self._inbox += [message for body in self._frames.feed(data) for message in self._decoder.decode(body)]
        return self._inbox.pop(0)

    def expect(self, kind: Any, timeout: float = 60) -> Any:
        """The next message, which must be of ``kind``."""
        message = self.receive(timeout)
        assert isinstance(message, kind), f"expected {kind}, got {message!r}"
        return message

    def until(self, stop: Callable[[Any], bool], timeout: float = 60) -> Iterator[Any]:
        """Messages up to and including the first for which ``stop`` is true, or until the socket ends."""
        while (message := self.receive(timeout)) is not None:
            yield message
            if stop(message):
                return

    def close_socket(self) -> None:
        """What a dying daemon does."""
        self._sock.close()

    def wait(self, timeout: float = 30) -> int:
        return self.process.wait(timeout)


@contextmanager
def running(
    module: str, outgoing: Any, env: dict[str, str] | None = None, words: Sequence[str] = (), prefix: Sequence[str] = ()
) -> Iterator[Child]:
    """A child that is ended, by its own pid, when the block ends."""
    child = Child(module, outgoing, env, words, prefix)
    try:
        yield child
    finally:
        child.close_socket()
        try:
            child.process.wait(5)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait(5)
