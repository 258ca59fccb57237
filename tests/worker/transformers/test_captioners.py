"""Models without a chat template that write about a picture unasked: BLIP and GIT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from ingestd.errors import Misconfigured
from tests import tinymodels
from tests.worker.transformers.kit import opened, recipe, resolve, result, text
from tests.worker.workerkit import worker

BUILDERS = {"blip": tinymodels.blip, "git": tinymodels.git}
LIMIT = 40


def plain(folder: Path, photos: list[Path]) -> dict[int, str]:
    """Greedy captions of single photos, as the model cards show it; those that the model ended."""
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor: Any = AutoProcessor.from_pretrained(folder, backend="pil")
    # BLIP's ``generate`` ends at the separator, whatever its settings say.
    ends = {3} if folder.name == "blip" else set(model.generation_config.eos_token_id)
    found = {}
    for at, path in enumerate(photos):
        inputs = processor(images=opened(path), return_tensors="pt")
        (tokens,) = model.generate(**inputs, do_sample=False, max_new_tokens=LIMIT).tolist()
        if ends & set(tokens):
            found[at] = processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    return found


@pytest.mark.parametrize("name", list(BUILDERS))
def test_captions_are_those_of_plain_code(name: str, tmp_path: Path, photos: list[Path], cache: Path) -> None:
    """In a batch and alone, with ``exact``; and a prompt that nobody would hear is refused."""
    folder = BUILDERS[name](tmp_path / name)
    step = resolve("describe", folder, cache, exact=True, max_tokens=LIMIT)
    expected = plain(folder, photos)
    assert len(set(expected.values())) >= 2
    with worker(recipe(step), cache) as w:
        together = dict(w.process(photos, timeout=120))
        alone = {at: w.one(photos[at]) for at in list(expected)[:2]}
    for found in (together, alone):
        ours = {at: text(result(found[at], 1)) for at in expected.keys() & found.keys()}
        assert ours == {at: expected[at] for at in ours}
    with pytest.raises(Misconfigured, match="takes no prompt"):
        resolve("describe", folder, cache, prompt="What is this?")
