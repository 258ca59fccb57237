"""Text embedders in the layout of sentence-transformers: token vectors of one network, pooled and normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from ingestd.protocol.work import Step, StepResult
from ingestd.worker.models.transformers_.device import Place
from ingestd.worker.models.transformers_.folder import ModelFolder, Refusal
from ingestd.worker.models.transformers_.towers import unit
from ingestd.worker.steps.base import Answer, Bodies, Encoder, Runner, description_in

CPU_BATCH: Final = 32
GPU_BATCH: Final = 128

SPARE: Final = ("pooler.",)
"""Weights that may be missing: BERT's own pooler is left out by many, and no sentence vector passes it."""

_MODULES: Final = frozenset(("Transformer", "Pooling", "Normalize"))

_POOLINGS: Final = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
"""sentence-transformers' older form: a switch for each."""

TextVectors = Callable[[Sequence[str]], list[bytes]]
"""Texts to vectors (little-endian float32, L2-normalised), in their order."""


def pooling_of(folder: ModelFolder, refuse: Refusal) -> str:
    """``mean`` (also where nothing is said), ``cls`` or ``lasttoken``. Raises ``Misconfigured`` for any other, and for
    a folder whose vectors pass further layers."""
    modules = folder.json("modules.json") or []
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    strange = [kind for kind in kinds if kind not in _MODULES]
    if strange:
        raise refuse(
            f"its vectors pass a layer that is not known here ({strange[0]})",
            "Choose a model of a transformer, a pooling and a normalisation",
        )
    said = folder.json("1_Pooling/config.json")
    mode = said.get("pooling_mode") or [name for key, name in _POOLINGS.items() if said.get(key)] or "mean"
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    if mode not in ("mean", "cls", "lasttoken"):
        raise refuse(f"it pools its token vectors in a way that is not known here ({mode})", "Choose another model")
    return str(mode)


class SentenceVectors:
    """Texts to vectors. ``query``: with the words that the model wants before a query, instead of before a document."""

    def __init__(
        self, folder: ModelFolder, model: Any, tokenizer: Any, place: Place, dim: int, pooling: str, *, query: bool
    ) -> None:
        self._model, self._tokenizer, self._place = model, tokenizer, place
        self._dim, self._pooling = dim, pooling
        settings = folder.json("config_sentence_transformers.json")
        prompts: dict[str, str] = settings.get("prompts") or {}
        names = ("query",) if query else ("document", "passage")
        names += (settings.get("default_prompt_name") or "",)
        self._before = next((prompts[name] for name in names if prompts.get(name)), "")
        limits = [
            folder.json("sentence_bert_config.json").get("max_seq_length"),
            tokenizer.model_max_length,
            getattr(model.config.get_text_config(), "max_position_embeddings", None),
        ]
        self._length = min(int(limit) for limit in limits if limit)

    def __call__(self, texts: Sequence[str]) -> list[bytes]:
        import torch

        tokens = self._tokenizer(
            [self._before + text for text in texts],
            padding=True,
            truncation=True,
            max_length=self._length,
            return_tensors="pt",
        ).to(self._place.device)
        with torch.inference_mode():
            last = self._model(**tokens).last_hidden_state.float()
            return unit(self._pooled(last, tokens["attention_mask"]), self._dim)

    def _pooled(self, last: Any, mask: Any) -> Any:
        """(batch, tokens, width) and its mask to (batch, width)."""
        import torch

        if self._pooling == "mean":
            weights = mask.unsqueeze(-1).to(last.dtype)
            return (last * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        at = torch.arange(mask.shape[1], device=mask.device)
        # Padding may stand on either side.
        which = (mask * (mask.shape[1] - at)).argmax(1) if self._pooling == "cls" else (mask * (at + 1)).argmax(1)
        return last[torch.arange(len(last), device=last.device), which]


class TextRunner(Runner):
    """Answers an ``embed_text`` step; it works on a description."""

    def __init__(self, step: Step, vectors: TextVectors, place: Place) -> None:
        self.mask = 1 << step.bit
        self.want = None
        self.batch = GPU_BATCH if place.accelerated else CPU_BATCH
        self._bit = step.bit
        self._vectors = vectors

    def prepare(self, view: None, bodies: Bodies) -> str:
        return description_in(bodies)

    def run(self, prepared: Sequence[Any], asked: Sequence[int]) -> Iterable[tuple[int, Answer]]:
        vectors = self._vectors(prepared)
        return enumerate({self._bit: StepResult(self._bit, b"{}", vector)} for vector in vectors)


class TextEncoder(Encoder):
    """Queries for an ``embed_text`` step."""

    def __init__(self, vectors: TextVectors) -> None:
        self._vectors = vectors

    def encode(self, text: str) -> bytes:
        return self._vectors([text])[0]
