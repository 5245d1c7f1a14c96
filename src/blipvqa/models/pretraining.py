"""`BlipForPretraining`: BLIP's mixture of encoder and decoder, trained with three losses at once.

Notable:
- Retrieval's towers and losses (`retriever`), and a decoder that writes each picture's text. Encoder and decoder share
  their embeddings, cross-attention and feed-forward layers, and each has its own self-attention (docs/facts.md 10.2).
- A picture is encoded once for the three passes; the optimizer sees a shared tensor once.
- Not as in retrieval (docs/facts.md 10.3): exchanged pairs are drawn by similarities to the momentum towers, plus 1e-4.

Source: salesforce/BLIP models/blip_pretrain.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel

from blipvqa.models.contrast import EMPTY
from blipvqa.models.language import text_losses
from blipvqa.models.packing import Layout, Written, sent
from blipvqa.models.processes import sizes_of_all
from blipvqa.models.retriever import BlipForRetrieval, RetrievalOutput
from blipvqa.models.towers import Memory

SHARED = ("crossattention", "intermediate", "output")  # of each layer of the text towers


@dataclass
class PretrainingOutput(RetrievalOutput):
    """As retrieval's, with `loss_lm`, this process's part of the mean over all written tokens, and `lm_per_row [Q]`,
    what of each row's loss is that one's."""

    loss_lm: Tensor | None = None
    lm_per_row: Tensor | None = None


class BlipForPretraining(BlipForRetrieval):
    """BLIP with its three losses; see the module's head.

    Keywords and shapes as `BlipForRetrieval`. Where `image_ids` are None, every row counts as a picture of its own, as
    the authors have it: another text of the same picture can be drawn as an exchanged one.
    """

    task, architecture, purpose = "pretrain", "BlipForPretraining", "pre-training"
    exchanged_by_followers, negative_floor = True, 1e-4
    _keys_to_ignore_on_load_missing = [  # noqa: RUF012  # transformers' attribute; shared tensors stand once
        "temp",
        r"text_decoder\.bert\.embeddings\.",
        rf"text_decoder\.bert\.encoder\.layer\.\d+\.({'|'.join(SHARED)})\.",
        r"text_decoder\.cls\.predictions\.decoder\.",
    ]

    def __init__(self, config):
        super().__init__(config)
        self.text_decoder = BlipTextLMHeadModel(config.text_config)
        self.write_start = config.text_config.bos_token_id  # [DEC]
        self.share()
        self.post_init()

    def share(self) -> None:
        """Make the decoder's embeddings, cross-attention and feed-forward layers those of the encoder."""
        encoder, decoder = self.text_encoder, self.text_decoder.bert
        decoder.embeddings = encoder.embeddings
        for ours, theirs in zip(decoder.encoder.layer, encoder.encoder.layer, strict=True):
            for part in SHARED:
                setattr(ours, part, getattr(theirs, part))
        self.text_decoder.cls.predictions.decoder.weight = encoder.embeddings.word_embeddings.weight
        self.text_decoder.cls.predictions.decoder.bias = self.text_decoder.cls.predictions.bias

    def save_pretrained(self, folder, **settings):
        """As the parent's; a tensor that both text towers share is written once, under the encoder's name."""
        shared = [re.compile(pattern) for pattern in self._keys_to_ignore_on_load_missing]
        state = {name: x for name, x in self.state_dict().items() if not any(p.match(name) for p in shared)}
        return super().save_pretrained(folder, **{"state_dict": state} | settings)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        image_index: Tensor | None = None,
        image_ids: Tensor | None = None,
        text_ids: Tensor | None = None,
        grown: float = 1.0,
        seed: int | None = None,
        layout: Layout | None = None,
    ) -> PretrainingOutput:
        """The three losses of a batch of pairs; `loss` is their sum, `loss_per_row [Q]` what each row adds."""
        states = self.picture_states(pixel_values)
        rows = torch.arange(len(input_ids), device=states.device) if image_ids is None else image_ids
        texts: list[tuple[Tensor, int]] = []
        pairs = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=pixel_values,
            image_index=image_index,
            image_ids=rows,
            text_ids=text_ids,
            grown=grown,
            seed=seed,
            states=states,
            layout=layout,
            meanwhile=lambda: texts.append(self._written(states, input_ids, attention_mask, image_index, layout)),
        )
        if image_ids is None:
            self.contrast.queue.ids.fill_(EMPTY)  # else the next batch's first rows were those of this one
        ((sums, tokens),) = texts
        rows_of_all, tokens_of_all = map(sum, sizes_of_all(len(sums), tokens, device=sums.device))
        written = sums * (rows_of_all / max(tokens_of_all, 1))  # their mean over all rows is the mean over all tokens
        return PretrainingOutput(
            loss=pairs.loss + written.mean(),
            loss_per_row=pairs.loss_per_row + written,
            loss_itc=pairs.loss_itc,
            loss_itm=pairs.loss_itm,
            loss_lm=written.mean().detach(),
            lm_per_row=written.detach(),
            itc_per_row=pairs.itc_per_row,
            itm_logits=pairs.itm_logits,
        )

    def _written(
        self,
        states: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        image_index: Tensor | None,
        layout: Layout | None,
    ) -> tuple[Tensor, int]:
        """Summed cross-entropy `[Q]` of each text, written from [DEC], and how many tokens these are in all."""
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        ids = input_ids.masked_fill(real & (real.cumsum(1) == 1), self.write_start)
        if layout is None:
            index = self._index(image_index, len(states), len(input_ids), states.device)
            written = sent(Written.of(real, index, len(states)), states.device)
        else:
            written = layout.written
        memory = Memory(states, written.inputs.queries)
        sums, logits = text_losses(self.text_decoder, ids, written, memory, self.text_decoder.label_smoothing)
        return sums, len(logits)

    @classmethod
    def fitted(cls, weights: Iterable[str], names: Iterable[str]) -> dict[str, str]:
        """Which of a pre-trained one's `weights` each weight of another task's model, one of `names`, is taken from.

        Its own decoder begins as the pre-trained one, whose shared tensors stand under the encoder's names.
        """
        weights, taken = set(weights), {}
        for name in names:
            own = name
            if name not in weights and any(re.match(pattern, name) for pattern in cls._keys_to_ignore_on_load_missing):
                own = name.replace("text_decoder.bert.", "text_encoder.")
            if own in weights:
                taken[name] = own
        return taken
