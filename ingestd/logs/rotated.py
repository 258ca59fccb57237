"""The log as a file: appended to, rotated by size, whole lines only, found again when somebody moved it away."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from ingestd.logs.lines import Line

ROTATE_BYTES: Final = 20 * 1024 * 1024
KEEP: Final = 5
"""Older logs beside the current one: with their 20 MiB each, months of a normal log and at most 120 MiB."""


class RotatedFile:
    """A log file as a target. Raises ``OSError`` when it cannot be opened."""

    name = "file"

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES, keep: int = KEEP) -> None:
        self._path = os.fspath(path)
        self._rotate_bytes, self._keep = rotate_bytes, keep
        self._handle = -1
        self._size = 0
        self.reopen()

    def write(self, line: Line) -> None:
        """Append a line, whole or not at all."""
        self._find_again()
        data = line.text + b"\n"
        if self._size and self._size + len(data) > self._rotate_bytes:
            self._rotate()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            if len(rest) < len(data):
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(data)

    def reopen(self) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.close()
        self._handle = handle
        self._size = os.fstat(handle).st_size
        if self._size and os.pread(handle, 1, self._size - 1) != b"\n":
            # A power cut halved the last line: what comes now begins one of its own.
            self._size += os.write(handle, b"\n")

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _find_again(self) -> None:
        """Somebody may have moved or deleted the file, or the last ``reopen`` failed: nobody would read what is
        written there. One that was cut (logrotate's ``copytruncate``) is shorter than it was."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            self.reopen()
            return
        here = os.fstat(self._handle)
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            self.reopen()
        self._size = min(self._size, there.st_size)

    def _rotate(self) -> None:
        # A log that grows is better than none, where its folder may not be written.
        aside = f"{self._path}.0"
        try:
            # First, so that older logs are pushed out only when this one will follow them.
            os.replace(self._path, aside)
        except OSError:
            return
        try:
            for number in range(self._keep, 0, -1):
                if os.path.lexists(f"{self._path}.{number - 1}"):
                    os.replace(f"{self._path}.{number - 1}", f"{self._path}.{number}")
        except OSError:
            with suppress(OSError):
                os.replace(aside, self._path)
            return
        self.reopen()
