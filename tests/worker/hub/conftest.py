"""A hub and our side of it, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from ingestd.worker.models.hub.fetch import Hub
from ingestd.worker.models.hub.store import Store
from tests import hubkit
from tests.worker.hub.ourside import QUICK


@pytest.fixture
def served() -> Iterator[hubkit.Hub]:
    with hubkit.hub() as served:
        yield served


@pytest.fixture
def ours(served: hubkit.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Our side, with a cache of its own and little patience."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return Hub(served.url, Store(tmp_path / "cache", tmp_path / "state" / "models"), QUICK)
