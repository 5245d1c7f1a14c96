"""`BlipForPairs`: whether a statement is true of two pictures, as the authors trained BLIP on NLVR2.

Notable:
- transformers has no class for it. Its modules have the authors' names, so that their tensors fit as they are.
- Each text layer looks at both pictures, with a cross-attention of its own for each. The first six layers take the mean
  of both looks; from the seventh on a layer `merge_layer` joins them (docs/facts.md 12.1).
- The order counts: `image_index.flip(1)` exchanges the two pictures.
- A picture that stands in several pairs is encoded once, and its keys and values are projected once a side.

Source: salesforce/BLIP models/blip_nlvr.py, models/nlvr_encoder.py; `tests/models/test_pairs.py` compares the numbers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BlipPreTrainedModel, PreTrainedModel
from transformers.models.blip.modeling_blip import BlipTextModel, BlipVisionModel
from transformers.models.blip.modeling_blip_text import BlipTextSelfAttention
from transformers.utils import ModelOutput

from blipvqa.models.cpu import speed_up
from blipvqa.models.folders import ModelError
from blipvqa.models.pictures import SeesPictures
from blipvqa.models.towers import Grid, Memory, text_states

MERGED_FROM = 6  # the first layer, counted from 0, that joins both looks by a layer of its own, whatever the depth


@dataclass
class PairsOutput(ModelOutput):
    """`loss` is the mean of `loss_per_row [Q]`; `logits [Q,2]`, index 1 for a true statement."""

    loss: Tensor | None = None
    loss_per_row: Tensor | None = None
    logits: Tensor | None = None


class PairAttention(nn.Module):
    """The two cross-attentions of a layer; `towers.text_states` calls its parts."""

    def __init__(self, config, merged: bool):
        super().__init__()
        self.self0, self.self1 = (BlipTextSelfAttention(config, is_cross_attention=True) for _ in range(2))
        self.output = PairAttentionOutput(config, merged)


class PairAttentionOutput(nn.Module):
    """What a layer makes of its looks at two pictures."""

    def __init__(self, config, merged: bool):
        super().__init__()
        width = config.hidden_size
        self.dense0, self.dense1 = nn.Linear(width, width), nn.Linear(width, width)
        self.merge_layer = nn.Linear(2 * width, width) if merged else None
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, first: Tensor, second: Tensor, x: Tensor) -> Tensor:
        """Looks `first`, `second` and the tokens `x` that looked, `[T,D]` each → `[T,D]`."""
        first, second = self.dense0(first), self.dense1(second)
        if self.merge_layer is None:
            both = (first + second) / 2
        else:
            both = self.merge_layer(torch.cat([first, second], dim=-1))
        return self.LayerNorm(self.dropout(both) + x)


class BlipForPairs(SeesPictures, BlipPreTrainedModel):
    """BLIP for a statement about two pictures; see the module's head.

    Keywords everywhere. Shapes: `input_ids`, `attention_mask` `[Q,L]`; `pixel_values [I,3,H,W]` (uint8, or float
    already normalized); `image_index [Q,2]`, the first and the second picture of each statement; `labels [Q]`, 1 where
    it is true. Whatever token stands first, the statement begins with [ENC].
    """

    architecture, purpose = "BlipForPairs", "statements about two pictures"
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        text = config.text_config
        self.vision_model = BlipVisionModel(config.vision_config)
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        for number, layer in enumerate(self.text_encoder.encoder.layer):
            layer.crossattention = PairAttention(text, merged=number >= MERGED_FROM)
        self.cls_head = nn.Sequential(
            nn.Linear(text.hidden_size, text.hidden_size), nn.ReLU(), nn.Linear(text.hidden_size, 2)
        )
        self.statement_start = text.vocab_size - 1  # [ENC]
        speed_up(self)
        self.post_init()

    @classmethod
    def begun_from(cls, model: PreTrainedModel, seed: int = 0) -> BlipForPairs:
        """A model whose towers are those of another of BLIP's models: one for questions, retrieval or pre-training.

        Its cross-attention stands on both sides. Head and merging layers are new, drawn from the seed. Raises
        ModelError for a model without a `text_encoder`.
        """
        if not hasattr(model, "text_encoder"):
            raise ModelError(
                "statements about two pictures begin as a model for questions, retrieval or pre-training, "
                f"found one for {getattr(model, 'purpose', type(model).__name__)}"
            )
        torch.manual_seed(seed)
        pairs, source = cls(copy.deepcopy(model.config)), model.state_dict()
        state = pairs.state_dict()
        taken = {name: source[_single(name)] for name in state if _single(name) in source}
        pairs.load_state_dict(state | taken)
        return pairs.eval()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> PairsOutput:
        """Logits of each statement, and its cross-entropy where `labels` are there."""
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        ids = input_ids.masked_fill(real & (real.cumsum(1) == 1), self.statement_start)
        states, grid = self.picture_states(pixel_values), Grid.of_mask(real)
        memories = [_memory(states, grid, side) for side in image_index.T]
        seen = text_states(self.text_encoder, ids[real], grid, memories)
        logits = self.cls_head(seen[grid.column == 0])
        if labels is None:
            return PairsOutput(logits=logits)
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        return PairsOutput(loss=losses.mean(), loss_per_row=losses, logits=logits)


def _memory(states: Tensor, grid: Grid, index: Tensor) -> Memory:
    """The pictures `index [Q]` that one side of the statements looks at, each once."""
    used, place = index.unique(return_inverse=True)
    return Memory(states[used], grid.regrouped(place, len(used)))


def _single(name: str) -> str:
    """What a weight of a pair of cross-attentions is called where there is one."""
    for part in ("self", "dense"):
        name = name.replace(f".{part}0.", f".{part}.").replace(f".{part}1.", f".{part}.")
    return name
