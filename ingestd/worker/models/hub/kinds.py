"""What a model folder is for, by its configuration alone: nothing is imported, no weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ingestd.worker.models.hub.store import read_json

_GENERATES: Final = ("ForConditionalGeneration", "ForVision2Seq", "ForImageTextToText")
"""Ends of the class names of networks that write text about a picture."""

_SENTENCES: Final = ("config_sentence_transformers.json", "modules.json")


def kinds_of(folder: Path) -> list[str]:
    """The step kinds that this model can answer: ``describe``; ``embed``; ``embed_text``; [] for none of them."""
    config = read_json(folder / "config.json") or {}
    architectures = config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else ""
    sees = isinstance(config.get("vision_config"), dict)
    if sees and str(first).endswith(_GENERATES):
        return ["describe"]
    if sees and (isinstance(config.get("text_config"), dict) or _two_towers(config)):
        return ["embed"]
    if not sees and any((folder / name).is_file() for name in _SENTENCES):
        return ["embed_text"]
    return []


def _two_towers(config: dict[str, Any]) -> bool:
    return str(config.get("model_type")) in ("clip", "siglip", "siglip2")
