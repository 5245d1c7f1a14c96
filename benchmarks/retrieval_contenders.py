"""The contenders of `make bench` on retrieval, each run in a process of its own: `python retrieval_contenders.py <what> <who> [--quick]`.

    train-1, train-5    a training step, texts of one picture 1 or 5 (as COCO's)

The model is that of blip-itm-base-coco with random weights (a small one with --quick), with momentum towers and a queue.
Texts are random words, 8 to 15 tokens. `plain` writes the authors' step over transformers' own modules: a picture encoded for each
text, texts padded to 35, eager attention, whole images' states for each of the three pairs of a text. Both take the most
probable negatives, and with --quick the same batch, so that their losses can be compared. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import warnings

import torch
import torch.nn.functional as F
from contenders import DEVICE, PRECISION, SEP, moved, now, padded, published_config
from torch import Tensor
from transformers import BlipForImageTextRetrieval

from blipvqa.config.knobs import TrainConfig
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.runs.environment import peak_memory_gib
from blipvqa.training.optimizer import make_optimizer

CLS, ENC = 101, 30523
STEPS = 3  # the first warms up; of the others the fastest counts, since a busy machine only adds
PADDED_TO = 35
PICTURES = 4  # of a step; the plain one, at full size, takes one text of each
ALPHA, MOMENTUM, TEMPERATURE = 0.4, 0.995, 0.07
QUEUE = 4096  # pairs; the authors' 57,600 would cost both the same


def sample(pictures: int, texts_each: int, side: int) -> dict:
    """Pictures `[I,3,side,side]`, normalized, and texts with the picture of each."""
    torch.manual_seed(0)
    lengths = torch.randint(6, 14, (pictures * texts_each,)).tolist()
    return {
        "texts": [[CLS, *torch.randint(1000, 20000, (length,)).tolist(), SEP] for length in lengths],
        "index": torch.arange(pictures).repeat_interleave(texts_each),
        "pixels": torch.randint(0, 256, (pictures, 3, side, side), dtype=torch.uint8).float() / 128 - 1,
    }


# ------------------------------------------------------------------------------------------------ the authors' step


class Plain:
    """transformers' modules, copies of them that follow, and a queue of their features."""

    def __init__(self, model: BlipForImageTextRetrieval, queue: dict[str, Tensor]):
        self.model, self.slow, self.queue = model, copy.deepcopy(model).requires_grad_(False), queue
        self.temp = torch.nn.Parameter(torch.tensor(TEMPERATURE, device=DEVICE))
        self.next = 0

    def picture(self, model, pixels: Tensor) -> tuple[Tensor, Tensor]:
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

    def losses(self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor, image_ids: Tensor):
        """ITC's and ITM's loss. Source: salesforce/BLIP models/blip_retrieval.py."""
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
            self.queue["ids"][place] = image_ids
            self.next = (self.next + len(image_ids)) % QUEUE
            same = image_ids[:, None] == image_ids
            to_image = F.softmax(text @ image.T / self.temp, dim=1).masked_fill(same, 0).argmax(1)
            to_text = F.softmax(image @ text.T / self.temp, dim=1).masked_fill(same, 0).argmax(1)
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
        return itc, F.cross_entropy(logits.float(), labels)


def first_queue(width: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    images, texts = (F.normalize(torch.randn(QUEUE, width, generator=draw), dim=1) for _ in range(2))
    return {
        "images": images.T.contiguous().to(DEVICE),
        "texts": texts.T.contiguous().to(DEVICE),
        "ids": torch.full((QUEUE,), -100, device=DEVICE),
    }


def plain_steps(config, data: dict, steps: int) -> tuple[list[float], list[list[float]]]:
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    plain = Plain(BlipForImageTextRetrieval(config).train().to(DEVICE), first_queue(config.image_text_hidden_size))
    optimizer = torch.optim.AdamW([*plain.model.parameters(), plain.temp], lr=1e-5, weight_decay=0.05)
    ids = padded(data["texts"], width=PADDED_TO)
    batch = {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "pixel_values": data["pixels"][data["index"]],
        "image_ids": data["index"],
    }
    seconds, losses = [], []
    for _ in range(steps):
        begun = now()
        optimizer.zero_grad()
        with autocast(PRECISION, DEVICE):
            itc, itm = plain.losses(**moved(batch))
        (itc + itm).backward()
        optimizer.step()
        seconds.append(now() - begun)
        losses.append([itc.item(), itm.item()])
    return seconds, losses


# ------------------------------------------------------------------------------------------------ ours


def our_steps(config, data: dict, steps: int) -> tuple[list[float], list[list[float]]]:
    """The step of `training/`: pictures once, true lengths, fused AdamW, clipped gradients."""
    reuse_memory(DEVICE)
    torch.manual_seed(0)
    model = BlipForRetrieval(config).train().to(DEVICE)
    queue, begin = model.start_contrast(QUEUE, MOMENTUM, ALPHA).queue, first_queue(config.image_text_hidden_size)
    queue.pictures.copy_(begin["images"].T)
    queue.texts.copy_(begin["texts"].T)
    optimizer = make_optimizer(model, TrainConfig(learning_rate=1e-5))
    ids = padded(data["texts"])
    batch = {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "pixel_values": data["pixels"],
        "image_index": data["index"],
        "image_ids": data["index"],
    }
    seconds, losses = [], []
    for _ in range(steps):
        begun = now()
        optimizer.zero_grad(set_to_none=True)
        with autocast(PRECISION, DEVICE):
            out = model(**moved(batch))
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(now() - begun)
        losses.append([out.loss_itc.item(), out.loss_itm.item()])
    return seconds, losses


def run(what: str, who: str, quick: bool) -> dict:
    config = published_config(quick)
    each = int(what.partition("-")[2])
    data = sample(PICTURES, 1 if who == "plain" and not quick else each, config.vision_config.image_size)
    seconds, losses = {"plain": plain_steps, "ours": our_steps}[who](config, data, STEPS)
    return {
        "pairs": len(data["texts"]),
        "seconds": min(seconds[1:]),
        "losses": losses,
        "precision": PRECISION,
        "peak_memory_gib": peak_memory_gib(),
    }


if __name__ == "__main__":
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train-1", "train-5"])
    parser.add_argument("who", choices=["plain", "ours"])
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    print(json.dumps(run(given.what, given.who, given.quick)))
