"""The JSONL sink: a log of lines in which the last line of an ``id`` wins.

A line is the document of a content (``document``), or ``{"id": …, "deleted": true}``. The cursor's token names the
inode, the offset up to which lines are durable, and the hash of the last line before it. What lies beyond that offset
is a page that was never reported: it is cut. Anything else that differs means that this is not the file of this
cursor: it is moved aside and the feed is written again from the beginning.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from ingestd.errors import Misconfigured, Unavailable
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks import local_files as places
from ingestd.sinks.base import Cursor, Sink
from ingestd.sinks.document import document, tombstone


class FileToken(msgspec.Struct, frozen=True):
    """The file up to ``offset`` (bytes), whose last line has ``length`` bytes and the sha256 ``last`` (hex)."""

    inode: int
    offset: int
    length: int
    last: str


class JsonlSink(Sink):
    """Appends to the file ``setup.place``; its folder must exist."""

    def __init__(self, setup: SinkSetup) -> None:
        self._place = Path(setup.place)
        self._job = UUID(setup.job_uuid)
        self._encoder = msgspec.json.Encoder()
        self._fd = -1
        self._at = FileToken(0, 0, 0, "")

    def open(self, cursor: Cursor) -> Cursor:
        """See ``Sink``. A file that is there although the cursor is new is somebody's: it is moved aside."""
        self.close()
        with places.in_words("open", self._place):
            self._look()
            self._fd = self._locked()
            token = _token(cursor)
            if token is not None and _matches(self._fd, token):
                if os.fstat(self._fd).st_size > token.offset:
                    os.ftruncate(self._fd, token.offset)
                    places.sync_file(self._fd)
                self._at = token
                self.opened = True
                return cursor
            if os.fstat(self._fd).st_size > 0:
                aside = places.move_aside(self._place)
                print(f"jsonl: {self._place} is not as it was left; moved to {aside} and written again", flush=True)
                self.close()
                self._fd = self._locked()
            places.sync_folder(self._place.parent)
            self._at = FileToken(os.fstat(self._fd).st_ino, 0, 0, "")
            self.opened = True
            return Cursor(0, self._text())

    def deliver(self, page: Sequence[Record]) -> str:
        """See ``Sink``. After an error the file ends where it ended before."""
        lines = [self._line(record) for record in page]
        try:
            with places.in_words("write to", self._place):
                self._unchanged()
                _write(self._fd, b"".join(lines), self._at.offset)
                places.sync_file(self._fd)
        except Unavailable:
            self._cut()
            self.close()  # after a failed fsync the file must be compared with the token again
            raise
        self._at = FileToken(
            self._at.inode,
            self._at.offset + sum(map(len, lines)),
            len(lines[-1]),
            hashlib.sha256(lines[-1]).hexdigest(),
        )
        return self._text()

    def close(self) -> None:
        """See ``Sink``."""
        self.opened = False
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _line(self, record: Record) -> bytes:
        made = tombstone(self._job, record) if record.deleted else document(self._job, record)
        return self._encoder.encode(made) + b"\n"

    def _text(self) -> str:
        return msgspec.json.encode(self._at).decode()

    def _look(self) -> None:
        """Raises ``Misconfigured`` where no file could ever be."""
        if not self._place.parent.is_dir():
            raise Misconfigured(
                "its folder does not exist",
                operation="open",
                object=str(self._place),
                remedy=f"Make the folder {self._place.parent}, or choose another file for the jsonl sink",
            )
        if self._place.exists() and not self._place.is_file():
            raise Misconfigured(
                "it is not a regular file",
                operation="open",
                object=str(self._place),
                remedy="Choose another file for the jsonl sink",
            )

    def _locked(self) -> int:
        while True:
            fd = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
            try:
                places.lock(fd, self._place)
                if _is_at(fd, self._place):  # it may have been moved aside between open and lock
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _unchanged(self) -> None:
        """Raises ``Unavailable`` when somebody cut, replaced or removed the file while it was open."""
        if not _is_at(self._fd, self._place) or os.fstat(self._fd).st_size != self._at.offset:
            raise Unavailable(
                "another program changed the file",
                operation="write to",
                object=str(self._place),
                remedy="It is put right by itself; let other programs only read it",
            )

    def _cut(self) -> None:
        try:
            if os.fstat(self._fd).st_size > self._at.offset:
                os.ftruncate(self._fd, self._at.offset)
        except OSError:
            pass  # the next open cuts it


def _token(cursor: Cursor) -> FileToken | None:
    try:
        return msgspec.json.decode(cursor.token, type=FileToken)
    except msgspec.DecodeError:
        return None


def _matches(fd: int, token: FileToken) -> bool:
    file = os.fstat(fd)
    if file.st_ino != token.inode or file.st_size < token.offset:
        return False
    if token.offset == 0:
        return True
    last = os.pread(fd, token.length, token.offset - token.length)
    return hashlib.sha256(last).hexdigest() == token.last


def _is_at(fd: int, place: Path) -> bool:
    try:
        there, here = os.stat(place), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) and stat.S_ISREG(here.st_mode)


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
