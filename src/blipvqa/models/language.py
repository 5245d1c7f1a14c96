"""The loss of a text under what its tokens look at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel

from blipvqa.models.packing import Written
from blipvqa.models.towers import Memory, text_states


def text_losses(
    decoder: BlipTextLMHeadModel, ids: Tensor, written: Written, memory: Memory, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy `[A]` of A texts `ids [A,L]`, `written` as it says, and the logits `[K,V]` behind it.

    `memory` is what their tokens look at. A text's first token predicts the second, and so on. Its last one predicts
    nothing, and as no token looks ahead, none needs it: it is not computed.
    """
    inputs = written.inputs
    states = text_states(decoder.bert, inputs.tokens(ids), inputs.grid, memory, causal=True)
    if written.scored is not None:
        states = states.index_select(0, written.scored)
    logits = decoder.cls(states).float()  # [K, V]
    expected = ids.flatten().index_select(0, written.targets)
    losses = F.cross_entropy(logits, expected, reduction="none", label_smoothing=smoothing)
    return losses.new_zeros(len(ids)).index_add(0, written.row, losses), logits
