"""A sink of another package in ``doctor``: its own check, in a process that has its own lock and no other's keys."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from ingestd.doctor import context, sinks
from ingestd.kinds.catalogue import Catalogue
from ingestd.kinds.sinks import SinkSpec
from ingestd.protocol.doctor import Finding
from tests.ctl.ctlkit import Home
from tests.doctor.clinic import Books
from tests.sinks.foreign_sinks import CARDS


def test_its_row(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what its check found, beside ours; one that fails is no other's failure, and of a package that is gone
    the remedy is the package."""
    monkeypatch.setenv("INGESTD_HOME", str(home.folder))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "a.card").write_text("{}")
    places = {"cards": "cards", "broken": "broken"}
    asked = [SinkSpec(name, "cards", str(tmp_path / place)) for name, place in places.items()]
    books = Books(home)
    books.add("photos", tmp_path, sinks=[*asked, SinkSpec("file", "jsonl", str(tmp_path / "items.jsonl"))])
    books.add("lost", tmp_path, sinks=[SinkSpec("deck", "punchcards", str(tmp_path / "deck"))])
    books.close()

    async def found() -> list[Finding]:
        known = await context.look()
        known.kinds = Catalogue(sinks=(CARDS,))
        return await sinks.sinks(known)

    rows = anyio.run(found)
    texts = [f"{row.level} {row.finding}" for row in rows]
    assert len(rows) == 4, texts
    assert any(text.startswith(f"ok cards {tmp_path}/cards: 1 cards") for text in texts), texts
    assert any(text.startswith(f"ok jsonl {tmp_path}/items.jsonl: can be written") for text in texts), texts
    assert any(text.startswith("fail cards the check of the kind cards failed: ZeroDivisionError") for text in texts)
    (lost,) = [row for row in rows if row.finding.startswith("punchcards there is no sink")]
    assert (lost.level, "Install the package that has it" in lost.remedy) == ("fail", True)
