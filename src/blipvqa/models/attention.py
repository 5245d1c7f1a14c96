"""One function for the attention of all three towers.

It is torch's `scaled_dot_product_attention`, but for `maps`, which asks for the probabilities that the fused kernels
never hold, and for rows that hold few queries on a CPU, where each row is computed at its own length (`cpu`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blipvqa.models.cpu import attend_row_by_row, row_by_row_pays


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
    if lengths and mask is None and row_by_row_pays(query, key, lengths):
        return attend_row_by_row(query, key, value, dropout, lengths)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)


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


def by_word(tokens: list[str], looks: Tensor) -> list[tuple[str, Tensor]]:
    """Pieces of words (`##…`) joined, up to [SEP]; `looks[t]` is where token t came from."""
    words: list[tuple[str, list[Tensor]]] = []
    for token, look in zip(tokens, looks, strict=False):
        if token in ("[SEP]", "[PAD]"):
            break
        if token.startswith("##") and words:
            words[-1] = (words[-1][0] + token.removeprefix("##"), [*words[-1][1], look])
        else:
            words.append((token, [look]))
    means = [(word, torch.stack(parts).mean(0)) for word, parts in words]
    largest = max((look.max().item() for _, look in means), default=1.0) or 1.0
    return [(word, look / largest) for word, look in means]
