"""A step of retrieval and of pre-training as one writes them plainly over transformers' models, for `retrieval_contenders.py`."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from contenders import DEC, DEVICE, ENC
from torch import Tensor
from transformers import BlipForConditionalGeneration, BlipForImageTextRetrieval
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel

from blipvqa.models.pretraining import BlipForPretraining

ALPHA, MOMENTUM, TEMPERATURE = 0.4, 0.995, 0.07
QUEUE = 4096  # pairs; the authors' 57,600 would cost both the same


class Plain:
    """transformers' modules, copies of them that follow, and a queue of their features; with a decoder it pre-trains."""

    def __init__(
        self, model: BlipForImageTextRetrieval, queue: dict[str, Tensor], decoder: BlipTextLMHeadModel | None = None
    ):
        self.model, self.slow, self.queue = model, copy.deepcopy(model).requires_grad_(False), queue
        self.decoder = decoder
        self.temp = torch.nn.Parameter(torch.tensor(TEMPERATURE, device=DEVICE))
        self.next = 0

    def picture(self, model, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What `match` and `write` are given of a picture, and its feature."""
        states = model.vision_model(pixels).last_hidden_state
        return states, F.normalize(model.vision_proj(states[:, 0]).float(), dim=-1)

    def text(self, model, ids: Tensor, mask: Tensor) -> Tensor:
        states = model.text_encoder(ids, attention_mask=mask, is_decoder=False).last_hidden_state
        return F.normalize(model.text_proj(states[:, 0]).float(), dim=-1)

    def match(self, ids: Tensor, mask: Tensor, states: Tensor) -> Tensor:
        everywhere = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        seen = self.model.text_encoder(
            ids,
            attention_mask=mask,
            encoder_hidden_states=states,
            encoder_attention_mask=everywhere,
            is_decoder=False,
        )
        return self.model.itm_head(seen.last_hidden_state[:, 0])

    def write(self, ids: Tensor, mask: Tensor, states: Tensor) -> Tensor:
        start = ids.clone()
        start[:, 0] = DEC
        return self.decoder(
            start,
            attention_mask=mask,
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long, device=states.device),
            labels=start.masked_fill(mask == 0, -100),
            use_cache=False,
        ).loss

    def losses(
        self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor, image_ids: Tensor
    ) -> list[Tensor]:
        """ITC's, ITM's and, in pre-training, LM's loss. Source: salesforce/BLIP models/blip_retrieval.py, blip_pretrain.py."""
        self.temp.data.clamp_(0.001, 0.5)
        states, image = self.picture(self.model, pixel_values)
        text = self.text(self.model, input_ids, attention_mask)
        with torch.no_grad():
            for slow, fast in zip(self.slow.parameters(), self.model.parameters(), strict=True):
                slow.data = slow.data * MOMENTUM + fast.data * (1 - MOMENTUM)
            image_m = self.picture(self.slow, pixel_values)[1]
            text_m = self.text(self.slow, input_ids, attention_mask)
            images = torch.cat([image_m.T, self.queue["images"]], dim=1)
            texts = torch.cat([text_m.T, self.queue["texts"]], dim=1)
            ids = torch.cat([image_ids, self.queue["ids"]])
            hard = (image_ids[:, None] == ids).float()
            hard /= hard.sum(1, keepdim=True)
            soft = [
                ALPHA * F.softmax(own @ others / self.temp, dim=1) + (1 - ALPHA) * hard
                for own, others in ((image_m, texts), (text_m, images))
            ]
        ways = [own @ others / self.temp for own, others in ((image, texts), (text, images))]
        itc = sum(-(F.log_softmax(way, 1) * target).sum(1).mean() for way, target in zip(ways, soft, strict=True)) / 2
        with torch.no_grad():
            place = slice(self.next, self.next + len(image_ids))
            self.queue["images"][:, place], self.queue["texts"][:, place] = image_m.T, text_m.T
            if self.decoder is None:  # in pre-training each pair is a picture of its own
                self.queue["ids"][place] = image_ids
            self.next = (self.next + len(image_ids)) % QUEUE
            same = image_ids[:, None] == image_ids
            images, texts, floor = (
                (image, text, 0.0) if self.decoder is None else (image_m, text_m, BlipForPretraining.negative_floor)
            )
            to_image, to_text = (
                (F.softmax(own @ others.T / self.temp, dim=1) + floor).masked_fill(same, 0).argmax(1)
                for own, others in ((text, images), (image, texts))
            )
        start = input_ids.clone()
        start[:, 0] = ENC
        logits = torch.cat(
            [
                self.match(start, attention_mask, states),
                self.match(
                    torch.cat([start, start[to_text]]),
                    torch.cat([attention_mask, attention_mask[to_text]]),
                    torch.cat([states[to_image], states]),
                ),
            ]
        )
        labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        labels[: len(image_ids)] = 1
        losses = [itc, F.cross_entropy(logits.float(), labels)]
        return losses if self.decoder is None else [*losses, self.write(input_ids, attention_mask, states)]


class Called(Plain):
    """Matching and writing by the forward pass of a model, as transformers' pages show them."""

    def __init__(self, model, queue, decoder=None):
        super().__init__(model, queue, decoder)
        if decoder is not None:
            with torch.device("meta"):
                self.writer = BlipForConditionalGeneration(model.config)
            self.writer.vision_model, self.writer.text_decoder = model.vision_model, decoder

    def picture(self, model, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels, super().picture(model, pixels)[1]

    def match(self, ids: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
        return self.model(input_ids=ids, attention_mask=mask, pixel_values=pixels, use_itm_head=True).itm_score

    def write(self, ids: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
        start = ids.clone()
        start[:, 0] = DEC
        labels = start.masked_fill(mask == 0, -100)
        return self.writer(
            pixel_values=pixels, input_ids=start, attention_mask=mask, labels=labels, use_cache=False
        ).loss
