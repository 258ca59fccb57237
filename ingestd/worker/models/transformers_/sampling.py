"""Sampling that does not depend on who else is in the batch."""

from __future__ import annotations

from typing import Any, Final

TOP_K: Final = 50
"""Only the likeliest tokens can be drawn: the library's default, and without it the tail makes nonsense."""


def sampler(temperature: float, seed: int) -> Any:
    """A logits processor for greedy generation whose choice is a draw from ``softmax(logits / temperature)``.

    Adding Gumbel noise to logits and taking the largest draws from their softmax (Gumbel 1954; Maddison, Tarlow and
    Minka 2014). The noise of the n-th token is a function of ``seed`` and n alone, the same for every row: so a picture
    gets the same text in any batch and on any device, which a shared random state cannot give.
    """
    import torch
    from transformers import LogitsProcessor

    generator = torch.Generator().manual_seed(seed)

    class Gumbel(LogitsProcessor):
        def __call__(self, input_ids: Any, scores: Any) -> Any:
            uniform = torch.rand(scores.shape[-1], generator=generator).clamp_(1e-20, 1 - 1e-7)
            noise = -torch.log(-torch.log(uniform))
            least = scores.topk(min(TOP_K, scores.shape[-1]), dim=-1).values[..., -1:]
            noised = scores.float() / temperature + noise.to(scores.device)
            return noised.masked_fill(scores < least, float("-inf"))

    return Gumbel()
