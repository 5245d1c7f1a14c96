"""The loss of a text under what its tokens look at."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel

from blipvqa.models.towers import Grid, Memory, text_states


def text_losses(
    decoder: BlipTextLMHeadModel,
    ids: Tensor,
    real: Tensor,
    memory: Callable[[Grid], Memory],
    smoothing: float,
    scored: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy `[A]` of A texts `ids`, `real` `[A,L]`, and the logits `[K,V]` behind it.

    `memory(grid)` is what tokens that stand in `grid` look at. A text's first token predicts the second, and so on. Its
    last one predicts nothing, and as no token looks ahead, none needs it: it is not computed. `scored [A,L]` marks the
    tokens whose prediction counts, by default all but the first; the rest is context, as a prompt is.
    """
    place = real.cumsum(1)  # 1 for a text's first token
    inputs, targets = real & (place < place[:, -1:]), real & (place > 1)
    grid = Grid.of_mask(inputs)
    states = text_states(decoder.bert, ids[inputs], grid, memory(grid), causal=True)
    row, expected = grid.row, ids[targets]  # one by one: the k-th input predicts the k-th target
    if scored is not None:
        counts = scored[targets]
        states, row, expected = states[counts], row[counts], expected[counts]
    logits = decoder.cls(states).float()  # [K, V]
    losses = F.cross_entropy(logits, expected, reduction="none", label_smoothing=smoothing)
    return losses.new_zeros(len(ids)).index_add(0, row, losses), logits
