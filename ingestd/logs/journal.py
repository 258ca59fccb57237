"""journald's native socket: one datagram an entry, its fields beside the message.

The protocol is systemd's "Native Journal Protocol" (systemd.io/JOURNAL_NATIVE_PROTOCOL): ``KEY=value`` lines, or for a
value with newlines the key alone, its length as 64 bits little-endian and its bytes. An entry that is too big for a
datagram goes as a sealed memory file whose descriptor is the message.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ingestd.logs.lines import Line

SOCKET = Path("/run/systemd/journal/socket")

PRIORITY: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""syslog's numbers; ``journalctl -p warning`` shows 4 and below."""

FIELDS: Final = {
    "event": "INGESTD_EVENT",
    "job": "INGESTD_JOB",
    "item": "INGESTD_ITEM",
    "items": "INGESTD_ITEM",
    "batch": "INGESTD_BATCH",
    "pid": "INGESTD_PID",
    "sink": "INGESTD_SINK",
    "kind": "INGESTD_KIND",
    "path": "INGESTD_PATH",
}
"""Fields of a line that ``journalctl FIELD=value`` finds. An entry may carry a field several times: each of ``items``
is an ``INGESTD_ITEM``."""

SEND_BUFFER: Final = 8 * 1024 * 1024
"""As libsystemd asks for; the kernel grants what its limit allows."""


def is_stderr(environ: Mapping[str, str], stderr: int) -> bool:
    """Whether the descriptor ``stderr`` is the journal's: systemd names its device and inode in ``JOURNAL_STREAM``.

    A variable that was inherited by a process whose stderr was then sent elsewhere does not match.
    """
    try:
        device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
        found = os.fstat(stderr)
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (ValueError, OSError):
        return False


def entry(line: Line, identifier: str = "ingestd") -> bytes:
    """One entry in the wire's form."""
    file, number, function = line.code
    fields: list[tuple[str, Any]] = [
        ("MESSAGE", line.text),
        ("PRIORITY", PRIORITY.get(line.level, 6)),
        ("SYSLOG_IDENTIFIER", identifier),
        ("SYSLOG_PID", os.getpid()),
        *_own(line.fields),
    ]
    if file:
        fields += [("CODE_FILE", file), ("CODE_LINE", number), ("CODE_FUNC", function)]
    return b"".join(_field(key, value) for key, value in fields)


def _own(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, name in FIELDS.items():
        value = fields.get(key)
        for one in value if isinstance(value, list) else (value,):
            if one is not None:
                yield name, one


def _field(key: str, value: Any) -> bytes:
    data = value if isinstance(value, bytes) else str(value).encode(errors="replace")
    if b"\n" in data:
        return b"%s\n%s%s\n" % (key.encode(), struct.pack("<Q", len(data)), data)
    return b"%s=%s\n" % (key.encode(), data)


class Journal:
    """The journal as a target. Raises ``OSError`` when nobody listens at ``path``."""

    name = "journal"

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        # It blocks while journald does not read; the kernel holds some entries for it until then.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
                probe.connect(self._path)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        except OSError:
            self._socket.close()
            raise

    def write(self, line: Line) -> None:
        """Send one entry, addressed each time: a journald that was started again is found again."""
        data = entry(line)
        try:
            self._socket.sendto(data, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        handle = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with open(handle, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            # Sealed, so that journald may map it without fear of its being changed or cut meanwhile.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]).tobytes())
            self._socket.sendmsg([], [rights], 0, self._path)

    def reopen(self) -> None:
        """Nothing is to be begun anew: each entry is addressed by itself."""

    def close(self) -> None:
        self._socket.close()
