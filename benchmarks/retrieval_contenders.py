"""The contenders of `make bench` on retrieval, each run in a process of its own: `python retrieval_contenders.py <what> <who> [--quick]`.

    train-1, train-5    a training step for retrieval, texts of one picture 1 or 5 (as COCO's)
    pretrain-1          a step of pre-training: three losses, 224 pixels, a text a picture

The model is that of blip-itm-base-coco with random weights (a small one with --quick), with momentum towers and a queue; for
pre-training a decoder that shares with the encoder what the authors share. Texts are random words, 8 to 15 tokens. `plain` writes
the authors' step over the towers of transformers' models: a picture encoded for each text, texts padded to 35 (30), eager
attention, whole images' states for each of the three pairs of a text. `called` computes the same with the models as they are
called, `model(input_ids, pixel_values)`: they take pixels, so that a picture is encoded for each loss. All take the most probable
negatives, and with --quick the same batch, so that their losses can be compared (in pre-training always). Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from functools import partial

import torch
import torch.nn.functional as F
from contenders import DEVICE, PRECISION, SEP, moved, now, padded, published_config
from retrieval_plain import ALPHA, MOMENTUM, QUEUE, Called, Plain
from torch import Tensor
from transformers import BlipForImageTextRetrieval
from transformers.models.blip.modeling_blip import BlipTextLMHeadModel

from blipvqa.config.knobs import TrainConfig
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast
from blipvqa.models.pretraining import SHARED, BlipForPretraining
from blipvqa.models.retriever import BlipForRetrieval
from blipvqa.runs.environment import peak_memory_gib
from blipvqa.training.optimizer import make_optimizer

CLS = 101
STEPS = 3  # the first warms up; of the others the fastest counts, since a busy machine only adds
PADDED_TO = {"train": 35, "pretrain": 30}
PRETRAINING_SIDE = 224
PICTURES = 4  # of a step; the plain one for retrieval, at full size, takes one text of each


def sample(pictures: int, texts_each: int, side: int) -> dict:
    """Pictures `[I,3,side,side]`, normalized, and texts with the picture of each."""
    torch.manual_seed(0)
    lengths = torch.randint(6, 14, (pictures * texts_each,)).tolist()
    return {
        "texts": [[CLS, *torch.randint(1000, 20000, (length,)).tolist(), SEP] for length in lengths],
        "index": torch.arange(pictures).repeat_interleave(texts_each),
        "pixels": torch.randint(0, 256, (pictures, 3, side, side), dtype=torch.uint8).float() / 128 - 1,
    }


# ------------------------------------------------------------------------------------------------ plainly


def first_queue(width: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    images, texts = (F.normalize(torch.randn(QUEUE, width, generator=draw), dim=1) for _ in range(2))
    return {
        "images": images.T.contiguous().to(DEVICE),
        "texts": texts.T.contiguous().to(DEVICE),
        "ids": torch.full((QUEUE,), -100, device=DEVICE),
    }


def plain_model(config, task: str, kind: type[Plain]) -> Plain:
    """With the weights that ours begins with."""
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    weights = OURS[task](config).state_dict()
    model, decoder = BlipForImageTextRetrieval(config), None
    model.load_state_dict({name: x for name, x in weights.items() if name in model.state_dict()})
    if task == "pretrain":
        decoder = BlipTextLMHeadModel(config.text_config)
        prefix = "text_decoder."
        decoder.load_state_dict(
            {name.removeprefix(prefix): x for name, x in weights.items() if name.startswith(prefix)}
        )
        decoder.bert.embeddings = model.text_encoder.embeddings
        layers = zip(decoder.bert.encoder.layer, model.text_encoder.encoder.layer, strict=True)
        for writes, sees in layers:
            for part in SHARED:
                setattr(writes, part, getattr(sees, part))
        decoder.cls.predictions.decoder.weight = decoder.bert.embeddings.word_embeddings.weight
        decoder.train().to(DEVICE)
    return kind(model.train().to(DEVICE), first_queue(config.image_text_hidden_size), decoder)


def plain_steps(
    config, task: str, data: dict, steps: int, kind: type[Plain] = Plain
) -> tuple[list[float], list[list[float]]]:
    plain = plain_model(config, task, kind)
    written = [] if plain.decoder is None else plain.decoder.parameters()
    weights = {id(x): x for x in (*plain.model.parameters(), *written, plain.temp)}  # a shared one once
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-5, weight_decay=0.05)
    ids = padded(data["texts"], width=PADDED_TO[task])
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
            parts = plain.losses(**moved(batch))
        sum(parts).backward()
        optimizer.step()
        seconds.append(now() - begun)
        losses.append([part.item() for part in parts])
    return seconds, losses


# ------------------------------------------------------------------------------------------------ ours


def our_steps(config, task: str, data: dict, steps: int) -> tuple[list[float], list[list[float]]]:
    """The step of `training/`: pictures once, true lengths, fused AdamW, clipped gradients."""
    reuse_memory(DEVICE)
    torch.manual_seed(0)
    model = OURS[task](config).train().to(DEVICE)
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
    }
    if task == "train":
        batch["image_ids"] = data["index"]
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
        losses.append([getattr(out, name).item() for name in LOSSES[task]])
    return seconds, losses


OURS = {"train": BlipForRetrieval, "pretrain": BlipForPretraining}
LOSSES = {"train": ("loss_itc", "loss_itm"), "pretrain": ("loss_itc", "loss_itm", "loss_lm")}


STEPS_OF = {"plain": plain_steps, "called": partial(plain_steps, kind=Called), "ours": our_steps}


def run(what: str, who: str, quick: bool, pictures: int) -> dict:
    config = published_config(quick)
    task, _, each = what.partition("-")
    if task == "pretrain" and not quick:
        config.vision_config.image_size = PRETRAINING_SIDE
    one_each = who != "ours" and not quick
    data = sample(pictures, 1 if one_each else int(each), config.vision_config.image_size)
    seconds, losses = STEPS_OF[who](config, task, data, STEPS)
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
    parser.add_argument("what", choices=["train-1", "train-5", "pretrain-1"])
    parser.add_argument("who", choices=list(STEPS_OF))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    given = parser.parse_args()
    print(json.dumps(run(given.what, given.who, given.quick, given.pictures)))
