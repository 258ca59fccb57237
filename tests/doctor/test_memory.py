"""Memory against what the workers of the most demanding job take."""

from __future__ import annotations

import psutil
import pytest

from ingestd import paths
from ingestd.doctor import models
from ingestd.doctor.context import Context
from ingestd.doctor.models import Load
from ingestd.protocol.doctor import Finding, Looked, ModelAsk
from ingestd.protocol.work import Machine

MACHINE = Machine("")
EMBED, DESCRIBE = (ModelAsk(kind, "one", MACHINE) for kind in ("embed", "describe"))
OTHER = ModelAsk("describe", "other", MACHINE)
GB = 10**9


def memory(*asks: ModelAsk, each: int) -> Finding:
    seen = {ask: Looked(0, "ok", "", "", each, GB) for ask in asks}
    (found,) = models._memory(Context(paths.places()), [Load(None, asks, ())], seen)
    return found


@pytest.mark.parametrize(
    ("need", "level", "says"),
    [
        (lambda free, total: 0, "ok", "are free"),  # an endpoint, or a GPU of which only torch knows
        (lambda free, total: 1, "ok", "1 worker of about 1.0 GB needed"),
        (lambda free, total: (free + total) // 2 - GB, "warn", "End what else runs"),  # a job would wait
        (lambda free, total: 2 * total, "fail", "Choose a smaller model"),  # it would fail
    ],
)
def test_what_is_there_decides(need: object, level: str, says: str) -> None:
    """The daemon's own rule: what all memory of the machine cannot hold fails, what others hold is waited for."""
    there = psutil.virtual_memory()
    found = memory(EMBED, each=need(there.available, there.total))  # type: ignore[operator]
    assert (found.level, says in found.finding + found.remedy) == (level, True), found


def test_kinds_of_one_model_share_it() -> None:
    """Tags and vectors of one network are loaded once, two models are loaded beside each other, libraries once."""
    assert "of about 3.0 GB" in memory(EMBED, DESCRIBE, each=2 * GB).finding
    assert "of about 5.0 GB" in memory(EMBED, OTHER, each=2 * GB).finding
