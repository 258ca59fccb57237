"""The sink ``csv``: one row for each content, the file rewritten whole at each delivery."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ingestd.errors import Unavailable
from ingestd.ledger.reader import Record
from ingestd.protocol.sink import SinkSetup
from ingestd.sinks.base import Cursor, Sink

COLUMNS = ("sha256", "path", "copies", "bytes", "colours")


class CsvSink(Sink):
    """Keeps rows by content. What is in the file is what was delivered: the token is the ``seq`` that it names."""

    max_paths = 1

    def __init__(self, setup: SinkSetup) -> None:
        self._place = Path(setup.place)
        self._rows: dict[str, list[str]] = {}

    def open(self, cursor: Cursor) -> Cursor:
        self._rows = {}
        try:
            lines = self._place.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise self._away(error) from error
        self.opened = True
        if not cursor.token or not lines or lines[0] != f"# {cursor.token}":
            return Cursor(0, "0")
        self._rows = {row[0]: row for row in list(csv.reader(lines[1:]))[1:]}
        return cursor

    def deliver(self, page: Sequence[Record]) -> str:
        for record in page:
            key = record.sha256.hex()
            if record.deleted:
                self._rows.pop(key, None)
                continue
            made = (record.results or {}).get("colours")
            colours = " ".join(one["hex"] for one in json.loads(made.body)["colours"]) if made else ""
            path = os.fsdecode(record.paths[0]).encode("utf-8", "replace").decode() if record.paths else ""
            self._rows[key] = [key, path, str(record.paths_total), str(record.size), colours]
        token = str(page[-1].seq)
        beside = self._place.with_name(f"{self._place.name}.new")
        try:
            with open(beside, "w", encoding="utf-8", newline="") as file:
                file.write(f"# {token}\n")
                csv.writer(file).writerows([COLUMNS, *self._rows.values()])
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._place)
        except OSError as error:
            self.opened = False
            raise self._away(error) from error
        return token

    def close(self) -> None:
        self.opened = False

    def _away(self, error: OSError) -> Unavailable:
        return Unavailable(
            error.strerror or str(error), operation="write", object=str(self._place),
            remedy="Delivery goes on by itself when it can be written",
        )  # fmt: skip
