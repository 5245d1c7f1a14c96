"""Attention, one function for all three towers: torch's `scaled_dot_product_attention`, but for

- `maps`, which asks for the probabilities that the fused kernels never hold, and
- rows that hold few queries, on a CPU: there each row is computed at its own length.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WORTH_IT = 2**24  # multiplications a row; below, a call for each row takes longer than it saves


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    maps: list | None = None,
    lengths: list[int] | None = None,
) -> Tensor:
    """Attention of `query [B,H,L,d]` to `key, value [B,H,M,d]`; `mask` is boolean, True where it may look.

    `lengths [B]` says how many queries of each row are real: what comes out for the others means nothing.
    With a list in `maps`, the probabilities `[B,H,L,M]` are appended to it and keep their gradient.
    """
    if maps is not None:
        return _mapped(query, key, value, mask, causal, maps)
    if (
        lengths
        and mask is None
        and query.device.type == "cpu"
        and min(lengths) < query.shape[-2]
        and _large(query, key)
    ):
        return _row_by_row(query, key, value, dropout, lengths)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)


def _large(query: Tensor, key: Tensor) -> bool:
    return query[0].numel() * key.shape[-2] >= WORTH_IT


def _row_by_row(query: Tensor, key: Tensor, value: Tensor, dropout: float, lengths: list[int]) -> Tensor:
    width = query.shape[-2]
    rows = [
        F.pad(F.scaled_dot_product_attention(q[None, :, :n], k[None], v[None], dropout_p=dropout), (0, 0, 0, width - n))
        for q, k, v, n in zip(query, key, value, lengths, strict=True)
    ]
    return torch.cat(rows)


def _mapped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, maps: list) -> Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    probabilities = scores.softmax(-1)
    if probabilities.requires_grad:
        probabilities.retain_grad()
    maps.append(probabilities)
    return probabilities @ value
