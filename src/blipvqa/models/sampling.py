"""Texts that are drawn: tokens from the nucleus of what is likely (Holtzman et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from blipvqa.models.decoding import Choice
from blipvqa.models.packing import sent


def nucleus(scores: Tensor, top_k: int | None, top_p: float) -> Tensor:
    """Probabilities `[R,V]` that a token is drawn with: of the `top_k` likeliest, those that make up `top_p`.

    The authors' call leaves transformers' default of 50 for `top_k` in place; None takes `top_p` of all tokens
    (docs/facts.md 7.7).
    """
    if top_k is not None and top_k < scores.shape[1]:
        scores = scores.masked_fill(scores < scores.topk(top_k, dim=1).values[:, -1:], float("-inf"))
    probabilities, order = scores.softmax(1).sort(dim=1, descending=True, stable=True)
    before = probabilities.cumsum(1) - probabilities
    probabilities = probabilities.masked_fill(before > top_p, 0.0)
    probabilities = probabilities / probabilities.sum(1, keepdim=True)
    return torch.zeros_like(probabilities).scatter(1, order, probabilities)


def drawn_by(seeds: Sequence[int], top_k: int | None, top_p: float) -> Choice:
    """A draw from the nucleus; each memory has a seed of its own."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def choose(scores: Tensor, memories: list[int]) -> Tensor:
        numbers = sent(torch.stack([torch.rand((), generator=generators[i]) for i in memories]), scores.device)
        probabilities, order = nucleus(scores, top_k, top_p).sort(dim=1, descending=True, stable=True)
        place = (probabilities.cumsum(1) < numbers[:, None]).sum(1, keepdim=True)
        last = (probabilities > 0).sum(1, keepdim=True) - 1  # sums of rounded numbers may stay below 1
        return order.gather(1, place.minimum(last)).squeeze(1)

    return choose
