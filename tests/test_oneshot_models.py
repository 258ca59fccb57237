"""The models child without a daemon: what it answers is printed, and what nobody expects is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingestd import oneshot_models
from ingestd.errors import IngestError
from ingestd.executors.base import ChildSpec
from ingestd.protocol import models
from ingestd.testing import sample_children


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub, and a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("INGESTD_HOME", str(tmp_path / "home"))


def test_its_answer_is_printed() -> None:
    """One document for each message, rows with their names."""
    printed: list[Any] = []
    assert oneshot_models.run(["list"], list, printed.append) == 0
    assert [list(document) for document in printed] == [["models"]]
    assert {"builtin"} <= {row["name"] for row in printed[0]["models"]["models"]}


def test_an_answer_that_nobody_expects_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not skipped, and the child is ended."""
    monkeypatch.setattr(oneshot_models, "_LINES", {})
    with pytest.raises(IngestError) as caught:
        oneshot_models.run(["list"], list, lambda _: None)
    assert caught.value.message == "its process ended: it answered with Models, which was not asked for"


def test_a_child_that_does_not_know_its_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line says what it was sent: here another child than the one that lists models."""
    spec = ChildSpec(sample_children.MODULE, "models", models.ToModels, models.FromModels)
    monkeypatch.setattr(oneshot_models, "_CHILD", spec)
    with pytest.raises(IngestError) as caught:
        oneshot_models.run(["list"], list, lambda _: None)
    assert "it was sent what is no message for it" in caught.value.message
    assert "'ListModels'" in caught.value.message
