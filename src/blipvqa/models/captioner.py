"""`BlipForCaptioning`: BLIP that describes images, with the authors' numbers, and nothing computed twice.

Notable:
- A subclass of `transformers.BlipForConditionalGeneration` with the same modules and state dict. Only the wiring is
  ours (`towers`): images travel once, captions are packed, the captions of one image share its keys and values.
- A caption is `[DEC] prompt caption [SEP]`. The prompt is context: only what follows it is scored, so a constant
  prompt flatters no loss (docs/facts.md 7.2). The loss is a mean over all scored tokens of the batch.
- Captions are written by the authors' rules (`decoding`), which transformers' `generate` does not follow
  (docs/facts.md 13.4); `rule="library"` asks for that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BlipForConditionalGeneration
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel, BlipVisionModel
from transformers.utils import ModelOutput

from blipvqa.models.cpu import speed_up
from blipvqa.models.decoding import Rules, Writer, write
from blipvqa.models.language import text_losses
from blipvqa.models.packing import Layout, Packed, Written, sent
from blipvqa.models.pictures import SeesPictures
from blipvqa.models.sampling import drawn_by
from blipvqa.models.towers import Memory, text_states


@dataclass
class CaptionOutput(ModelOutput):
    """`loss` scalar: mean over the scored tokens; `loss_per_caption [Q]` their sums; `logits [K,V]` of the K tokens."""

    loss: Tensor | None = None
    loss_per_caption: Tensor | None = None
    logits: Tensor | None = None


class BlipForCaptioning(SeesPictures, BlipForConditionalGeneration):
    """BLIP for captions; see the module's head for what differs from its parent.

    Keywords everywhere. Shapes: `input_ids`, `attention_mask`, `labels` `[Q,L]`; `pixel_values [I,3,H,W]` (uint8, or
    float already normalized); `image_index [Q]` (None: caption q describes image q).
    """

    task, architecture, purpose = "caption", "BlipForConditionalGeneration", "captions"
    accepts_loss_kwargs = False  # our loss is a mean over tokens: Trainer divides it by accumulation steps

    def __init__(self, config):
        super(BlipForConditionalGeneration, self).__init__(config)  # the parent would build a decoder for nothing
        self.vision_model = BlipVisionModel(config.vision_config)
        self.text_decoder = BlipTextLMHeadModel(config.text_config)
        self.decoder_input_ids = self.decoder_start_token_id = config.text_config.bos_token_id
        self.decoder_pad_token_id = config.text_config.pad_token_id
        speed_up(self)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_index: Tensor | None = None,
        labels: Tensor | None = None,
        layout: Layout | None = None,
    ) -> CaptionOutput:
        """The loss of captions `input_ids`; `labels` are -100 on padding, [DEC] and the prompt (the shift is inside).

        `layout` is what the collator knows of where tokens stand; without it the masks are read.

        Whatever token stands first, the decoder starts from [DEC]. Source: salesforce/BLIP models/blip.py.
        """
        if labels is None:
            raise ValueError("BlipForCaptioning.forward needs labels [Q,L]; to write captions call generate_captions")
        real = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        images = self.picture_states(pixel_values)
        sums, logits = self.caption_losses(images, input_ids, real, labels, image_index, layout=layout)
        return CaptionOutput(loss=sums.sum() / max(len(logits), 1), loss_per_caption=sums, logits=logits)

    def caption_losses(
        self,
        images: Tensor,
        ids: Tensor,
        real: Tensor,
        labels: Tensor | None,
        image_index: Tensor | None = None,
        smoothing: float | None = None,
        layout: Layout | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Summed cross-entropy `[Q]` of each caption and the logits `[K,V]` behind it, from image states `[I,N,D]`.

        `smoothing` None: the config's, as in training; 0 gives minus the log-probability. `labels` and `image_index`
        are read where there is no `layout`.
        """
        smoothing = self.text_decoder.label_smoothing if smoothing is None else smoothing
        if layout is None:
            index = self._index(image_index, images, len(ids))
            written = sent(Written.of(real, index, len(images), labels != -100), images.device)
        else:
            written = layout.written
        memory = Memory(images, written.inputs.queries)
        return text_losses(self.text_decoder, self._started(ids, real), written, memory, smoothing)

    def word_maps(self, images: Tensor, ids: Tensor, real: Tensor) -> list[Tensor]:
        """Where each token's prediction looked: of every layer `[Q,H,L,N]`, L as in `ids`, one caption an image.

        Row t is the look from which token t + 1 was written.
        """
        maps: list[Tensor] = []
        read = sent(Packed.of(real), images.device)
        tokens = read.tokens(self._started(ids, real))
        text_states(self.text_decoder.bert, tokens, read.grid, Memory(images, read.grid), causal=True, maps=maps)
        return maps

    def _started(self, ids: Tensor, real: Tensor) -> Tensor:
        """`ids` with [DEC] in place of each text's first token, whatever stood there; the caller's stay as they are."""
        return ids.masked_fill(real & (real.cumsum(1) == 1), self.decoder_start_token_id)

    def _index(self, image_index: Tensor | None, images: Tensor, count: int) -> Tensor:
        if image_index is not None:
            return image_index
        if len(images) != count:
            raise ValueError(f"{count} captions of {len(images)} images need image_index [Q]")
        return torch.arange(count)

    # ------------------------------------------------------------------------------------------------- writing

    @torch.no_grad()
    def generate_captions(
        self,
        pixel_values: Tensor | None = None,
        prompt: Sequence[int] = (),
        images: Tensor | None = None,
        num_beams: int = 3,
        max_length: int = 20,
        min_length: int = 5,
        repetition_penalty: float = 1.0,
        seeds: Sequence[int] | None = None,
        top_p: float = 0.9,
        top_k: int | None = 50,
        rule: str = "authors",
    ) -> Tensor:
        """One caption an image, `[I,L]`: `[DEC] prompt caption [SEP]`, padded; call `eval()` first.

        `prompt` holds token ids without special tokens. Lengths count [DEC] and the prompt, as the authors' do. With
        `seeds [I]` captions are drawn (nucleus sampling) instead of searched; the authors draw with a penalty of 1.1.
        `rule` says how beams are compared: "authors", or "library" for what transformers' `generate` does. `images`
        `[I,N,D]` saves encoding what is encoded already.
        """
        images = self.picture_states(pixel_values) if images is None else images
        text = self.config.text_config
        start = torch.tensor([self.decoder_start_token_id, *prompt])
        if len(start) >= max_length:
            raise ValueError(f"max_length {max_length} leaves no room after [DEC] and a prompt of {len(prompt)} tokens")
        # the published config's eos is 2 (docs/facts.md 1.10)
        rules = Rules(
            max_length,
            min_length,
            repetition_penalty,
            end=text.sep_token_id,
            pad=self.decoder_pad_token_id,
            library_start=len(start) if rule == "library" else None,
        )
        choose = drawn_by(seeds, top_k, top_p) if seeds is not None else None
        return write(Writer(self.text_decoder, images, max_length), start, rules, num_beams, choose)

    @torch.no_grad()
    def generate(
        self, pixel_values: Tensor, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, **settings
    ) -> Tensor:
        """The parent's call, answered by `generate_captions`: `input_ids [I,P]` is the prompt, one for all images.

        Its first token counts as [DEC], and a [SEP] at its end is dropped; `max_new_tokens` is added to its length.
        """
        settings.pop("interpolate_pos_encoding", None)  # position tables are always interpolated
        prompt: list[int] = []
        if input_ids is not None:
            real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            prompts = {tuple(row[mask.bool()].tolist()[1:]) for row, mask in zip(input_ids, real, strict=True)}
            if len(prompts) > 1:
                raise ValueError(f"one prompt for all images is expected, found {len(prompts)}: call it once for each")
            prompt = list(prompts.pop())
            prompt = prompt[:-1] if prompt and prompt[-1] == self.config.text_config.sep_token_id else prompt
        if "max_new_tokens" in settings:
            settings["max_length"] = 1 + len(prompt) + settings.pop("max_new_tokens")
        return self.generate_captions(pixel_values, prompt, **settings)
