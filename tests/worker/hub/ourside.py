"""Our side of a fetch in tests: a hub's client with little patience, a listener, a real models child."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingestd.protocol.models import FromModels, Pulled
from ingestd.protocol.work import Fatal
from ingestd.worker.models.hub.fetch import Hub, Located
from ingestd.worker.models.hub.transfer import Patience
from tests import hubkit
from tests.childkit import Child, running

ID = "google/siglip2-base-patch16-224"
WEIGHTS = "model.safetensors"
NEEDED = {"config.json", "tokenizer.json", "preprocessor_config.json", WEIGHTS}
QUICK = Patience(tries=3, first_s=0.01, longest_s=0.02)


class Told:
    """Hears progress."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []

    def __call__(self, model: str, done: int, total: int) -> None:
        self.heard.append((model, done, total))


def fetch(hub: Hub, model: str = ID, tell: Callable[[str, int, int], None] | None = None) -> Located:
    return hub.locate(model, tell or Told())


def partials(hub: Hub) -> list[Path]:
    return sorted(hub.store.repo(ID).glob("blobs/*.incomplete"))


def ask(served: hubkit.Hub, home: Path, **env: str) -> Any:
    """A real models child, as a verb or the daemon starts one, with ``home`` for its cache and its state."""
    places = {"HF_ENDPOINT": served.url, "HF_HOME": str(home / "hf"), "INGESTD_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    return running("ingestd.worker.models_main", FromModels, places | env)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, never for a time."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def last(child: Child) -> Any:
    """Its last message: the result or why there is none."""
    return [*child.until(lambda said: isinstance(said, Pulled | Fatal))][-1]
