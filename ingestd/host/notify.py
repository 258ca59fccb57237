"""What the service manager is told, in systemd's notification protocol: see sd_notify(3).

A datagram of ``NAME=value`` lines to the socket that ``NOTIFY_SOCKET`` names. Without a service manager, or with one
that is gone, everything here does nothing: no notification is worth a daemon.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")

SEND_S: Final = 1.0
"""Seconds that a message which must arrive may wait while the manager's queue is full."""

MAX_STATUS: Final = 500
"""Characters of a status: it is one line on a terminal."""


class Notifier:
    """The line to the service manager. ``told`` is the last status, so that nothing is said twice.

    ``watchdog_s``: seconds after which the manager gives this process up when it hears nothing; None: never.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._socket: socket.socket | None = None
        self.told = ""
        address = environ.get("NOTIFY_SOCKET", "")
        if address.startswith(("/", "@")):
            # Autoclosed in children (PEP 446). An abstract address begins with a zero byte where people write an @.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._address = b"\0" + os.fsencode(address[1:]) if address[0] == "@" else os.fsencode(address)
        self.watchdog_s = _watchdog(environ, pid) if self._socket is not None else None

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """The line that this process's environment names; its variables are removed: children have no part in it."""
        notifier = cls(environ, os.getpid())
        for name in VARIABLES:
            environ.pop(name, None)
        return notifier

    @property
    def heard(self) -> bool:
        """Whether there is a service manager to talk to."""
        return self._socket is not None

    def ready(self) -> None:
        """The socket answers and the ledger is open; after ``reloading``: that is over."""
        self._send(SEND_S, "READY=1")

    def reloading(self) -> None:
        """The configuration is read again."""
        self._send(SEND_S, "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send(SEND_S, "STOPPING=1")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._send(0, "WATCHDOG=1")

    def status(self, text: str, *, last: bool = False) -> None:
        """What a person reads in ``systemctl status``. ``last``: it stays there when the process has ended."""
        line = " ".join(text.split())[:MAX_STATUS]
        if line != self.told:
            self.told = line
            self._send(SEND_S if last else 0, f"STATUS={line}")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, patience_s: float, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.settimeout(patience_s)
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            pass  # the manager restarts or its queue is full: the next sign of life is soon, and readiness can be asked


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds of the watchdog that is meant for this process."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isascii() and text.isdecimal() and int(text) > 0 else None
