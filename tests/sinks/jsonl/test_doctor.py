"""What ``doctor`` sees of a file of JSON lines: it is written beside and not into."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestd.testing.feed import Feed
from tests.sinks.conftest import SmallDisk
from tests.sinks.doctorkit import look, prints


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file: None, "its folder does not exist"),
        (lambda file: file.mkdir(parents=True), "it is not a regular file"),
    ],
)
def test_a_file_that_cannot_be(feed: Feed, tmp_path: Path, make: object, says: str) -> None:
    """What only a person can change."""
    file = tmp_path / "out" / "items.jsonl"
    make(file)  # type: ignore[operator]
    found = look(feed, "jsonl", file)
    assert (found.level, says in found.finding) == ("fail", True)
    assert found.remedy


def test_a_file(feed: Feed, tmp_path: Path, small_disk: SmallDisk) -> None:
    """It is written beside, not into; a full disk is seen by that."""
    file = tmp_path / "items.jsonl"
    assert "not there yet" in look(feed, "jsonl", file).finding
    file.write_text("{}\n")
    before = prints(tmp_path)
    assert look(feed, "jsonl", file).level == "ok"
    assert prints(tmp_path) == before
    small_disk.fill()
    full = look(feed, "jsonl", small_disk.folder / "items.jsonl")
    assert (full.level, "disk full" in full.finding) == ("fail", True), full
