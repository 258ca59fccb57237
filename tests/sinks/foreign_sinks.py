"""Sinks as another package would bring them: a card for each content, and some that are no good."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from ingestd.kinds.sinks import SinkKind
from ingestd.kinds.steps import Setting
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks.base import Cursor, Sink
from ingestd.sinks.document import document, point_id

MARK: Final = "mark.json"

CARDS: Final = SinkKind(
    "cards",
    "a card for each photo",
    "tests.sinks.foreign_sinks:CardSink",
    1,
    "tests.sinks.foreign_checks",
    package="ingestd-cards",
    takes=("nothing", "file"),
    copies=1.0,
    writes=("place",),
    settings=(Setting("cards_pry", "text", "a file to try to read", "FILE"),),
)


class CardSink(Sink):
    """A folder with a JSON file for each content, and a mark that says which folder it is and how far it goes."""

    def __init__(self, setup: SinkSetup) -> None:
        self._folder = Path(setup.place)
        self._job = UUID(setup.job_uuid)
        self._token = ""
        if pried := setup.settings.get("cards_pry"):
            print("pried", json.dumps(pry(str(pried))), flush=True)

    def open(self, cursor: Cursor) -> Cursor:
        try:
            mark = json.loads((self._folder / MARK).read_text())
        except FileNotFoundError:
            mark = {"token": "", "seq": 0}
        if not cursor.token or mark["token"] != cursor.token:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            mark = {"token": str(uuid4()), "seq": 0}
        self._token = mark["token"]
        self._mark(mark["seq"])
        self.opened = True
        return Cursor(min(cursor.seq, mark["seq"]), self._token)

    def deliver(self, page: Sequence[Record]) -> str:
        for record in page:
            card = self._folder / f"{point_id(self._job, record.sha256)}.card"
            if record.deleted:
                card.unlink(missing_ok=True)
            else:
                card.write_text(json.dumps(document(self._job, record)))
        self._mark(page[-1].seq)
        return self._token

    def close(self) -> None:
        self.opened = False

    def _mark(self, seq: int) -> None:
        (self._folder / MARK).write_text(json.dumps({"token": self._token, "seq": seq}))


def pry(file: str) -> dict[str, str]:
    """What comes of reading a file, of writing beside it, and of connecting to anybody."""
    attempts: dict[str, Callable[[], Any]] = {
        "read": lambda: Path(file).read_bytes(),
        "write": lambda: Path(f"{file}.new").write_bytes(b""),
        "connect": lambda: socket.create_connection(("127.0.0.1", 9), 1),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            found[name] = "done"
        except Exception as error:
            found[name] = type(error).__name__
    return found


class NoSink:
    """Has the name that a declaration gives, and is something else."""
