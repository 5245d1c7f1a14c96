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
from collections.abc import Iterable
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
from blipvqa.models.packing import Layout, Packed, Side, sent
from blipvqa.models.pictures import SeesPictures
from blipvqa.models.towers import Memory, text_states

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

    task, architecture, purpose = "pairs", "BlipForPairs", "statements about two pictures"
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
        self.label_smoothing = text.label_smoothing  # in training
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
        pairs.load_state_dict(state | {name: source[theirs] for name, theirs in cls.fitted(source, state).items()})
        return pairs.eval()

    @staticmethod
    def fitted(weights: Iterable[str], names: Iterable[str]) -> dict[str, str]:
        """Which of another model's `weights` each of `names`, those of a model of pairs, begins as; new ones are left
        out."""
        weights = set(weights)
        return {name: _single(name) for name in names if _single(name) in weights}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        labels: Tensor | None = None,
        layout: Layout | None = None,
    ) -> PairsOutput:
        """Logits of each statement, and its cross-entropy where `labels` are there.

        `layout` is what the collator knows of where tokens stand; without it the mask is read.
        """
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        ids = input_ids.masked_fill(real & (real.cumsum(1) == 1), self.statement_start)
        states = self.picture_states(pixel_values)
        layout = sent(layout_of(real, image_index), states.device) if layout is None else layout
        memories = [
            Memory(states.index_select(0, side.pictures), side.queries) for side in (layout.first, layout.second)
        ]
        seen = text_states(self.text_encoder, layout.read.tokens(ids), layout.read.grid, memories)
        logits = self.cls_head(seen.index_select(0, layout.read.first))
        if labels is None:
            return PairsOutput(logits=logits)
        smoothing = self.label_smoothing if self.training else 0.0
        losses = F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
        return PairsOutput(loss=losses.mean(), loss_per_row=losses, logits=logits)


def layout_of(real: Tensor, image_index: Tensor) -> Layout:
    """How statements with the mask `real [Q,L]` about the pictures `image_index [Q,2]` lie, on the CPU."""
    read = Packed.of(real)
    first, second = (Side.of(side, read.grid) for side in image_index.T)
    return Layout(read, first=first, second=second)


def _single(name: str) -> str:
    """What a weight of a pair of cross-attentions is called where there is one."""
    for part in ("self", "dense"):
        name = name.replace(f".{part}0.", f".{part}.").replace(f".{part}1.", f".{part}.")
    return name
