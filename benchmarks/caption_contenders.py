"""The contenders of `make bench` on captions, each run in a process of its own: `python caption_contenders.py <what> <who> [--quick]`.

    train-1, train-5    a training step, captions of one picture 1 or 5 (as COCO's)
    write-20, write-60  captions by 3 beams, of so many tokens: the authors' limit, and one for captions of radiology

The model is that of blip-image-captioning-base with random weights (a small one with --quick). Captions are random words, 8 to 15
tokens after the prompt in training; while they are written none ends early, as random weights seldom say [SEP]. The plain contenders
encode a picture for each caption, so "train-1" and "train-5" cost them the same a caption. `notebook` pads every caption to 512 tokens, as the
usual notebook for captions does (huggingface/notebooks, examples/image_captioning_blip.ipynb: padding="max_length", batches of 2);
`report` pads to 32, as the report's loop. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings

import torch
from arithmetic import step_operations
from contenders import DEC, DEVICE, PRECISION, SEP, machine_rates, moved, now, padded, published_config
from transformers import BlipForConditionalGeneration

from blipvqa.config.knobs import TrainConfig
from blipvqa.models.captioner import BlipForCaptioning
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast
from blipvqa.runs.environment import peak_memory_gib
from blipvqa.training.optimizer import make_optimizer

PROMPT = [1037, 3861, 1997]  # "a picture of" in the published vocabulary
WARM_UP = 2  # training steps
PADDED_TO = {"notebook": 512, "report": 32}
A_STEP = {"notebook": 2, "report": 4}  # captions, each with a picture
PICTURES = 8  # of a step of ours
TOGETHER = {"single": 1, "batched": 4, "ours": 64}  # captions that are written together; of ours `generate.batch_size`
COMPARED = 4  # captions, which all contenders write
BEAMS = {"num_beams": 3, "min_length": 5}


def sample(pictures: int, captions_each: int, side: int) -> dict:
    """Pictures `[I,3,side,side]`, normalized, and captions with the picture of each."""
    torch.manual_seed(0)
    lengths = torch.randint(8, 16, (pictures * captions_each,)).tolist()
    captions = [[DEC, *PROMPT, *torch.randint(1000, 20000, (length,)).tolist(), SEP] for length in lengths]
    return {
        "captions": captions,
        "index": torch.arange(pictures).repeat_interleave(captions_each),
        "pixels": torch.randint(0, 256, (pictures, 3, side, side), dtype=torch.uint8).float() / 128 - 1,
    }


# ------------------------------------------------------------------------------------------------ a training step


def plain_step(model, optimizer, data: dict, width: int) -> None:
    """As the notebook writes it: ids as labels too, padding and prompt in the loss."""
    ids = padded(data["captions"], width=width)
    batch = {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "pixel_values": data["pixels"][data["index"]],
        "labels": ids,
    }
    with autocast(PRECISION, DEVICE):
        loss = model(**moved(batch)).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def our_step(model, optimizer, data: dict) -> None:
    """The step of `training/`: pictures once, true lengths, scored tokens alone, clipped gradients."""
    ids = padded(data["captions"])
    labels = ids.masked_fill(ids == 0, -100)
    labels[:, : 1 + len(PROMPT)] = -100
    batch = {
        "input_ids": ids,
        "attention_mask": (ids != 0).long(),
        "pixel_values": data["pixels"],
        "image_index": data["index"],
        "labels": labels,
    }
    optimizer.zero_grad(set_to_none=True)
    with autocast(PRECISION, DEVICE):
        loss = model(**moved(batch)).loss_per_caption.sum() / (labels != -100).sum().item()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def train(who: str, config, captions_each: int, quick: bool) -> dict:
    side = config.vision_config.image_size
    if who == "ours":
        reuse_memory(DEVICE)
        model = BlipForCaptioning(config).train().to(DEVICE)
        data, optimizer = sample(PICTURES, captions_each, side), make_optimizer(model, TrainConfig())
        step = lambda: our_step(model, optimizer, data)  # noqa: E731
    else:
        model = BlipForConditionalGeneration(config).train().to(DEVICE)
        data, optimizer = sample(A_STEP[who], 1, side), torch.optim.AdamW(model.parameters(), lr=5e-5)
        step = lambda: plain_step(model, optimizer, data, PADDED_TO[who])  # noqa: E731
    for _ in range(WARM_UP):
        step()
    begun = now()
    step()
    seconds, rates = now() - begun, machine_rates(quick)
    each = len(data["captions"]) // len(data["pixels"])
    groups = [
        [[0, len(caption)] for caption in data["captions"][i : i + each]] for i in range(0, len(data["captions"]), each)
    ]
    done = step_operations(config, groups) / seconds  # a caption is an answer to no question
    shares = {by: done / rate for by, rate in rates.items()}
    return {"captions": len(data["captions"]), "seconds": seconds, "rates": rates, "shares": shares}


# ------------------------------------------------------------------------------------------------ writing


@torch.no_grad()
def write_plain(model, pixels: torch.Tensor, together: int, length: int) -> list[list[int]]:
    rows = []
    for part in pixels.split(together):
        prompt = torch.tensor([[DEC, *PROMPT, SEP]] * len(part))  # `generate` cuts the last token
        batch = moved({"pixel_values": part, "input_ids": prompt, "attention_mask": torch.ones_like(prompt)})
        rows += model.generate(**batch, **BEAMS, max_length=length).tolist()
    return rows


def write(who: str, config, length: int) -> dict:
    ours, together = who == "ours", TOGETHER[who]
    if ours:
        reuse_memory(DEVICE)
    model = (BlipForCaptioning if ours else BlipForConditionalGeneration)(config).eval().to(DEVICE)
    pixels = sample(max(TOGETHER.values()), 1, config.vision_config.image_size)["pixels"][: max(together, COMPARED)]

    def work(pixels: torch.Tensor, rule: str = "authors") -> list[list[int]]:
        if not ours:
            return write_plain(model, pixels, together, length)
        return model.generate_captions(pixels.to(DEVICE), PROMPT, **BEAMS, max_length=length, rule=rule).tolist()

    with autocast(PRECISION, DEVICE):
        work(pixels[: min(together, COMPARED)])
        begun = now()
        rows = work(pixels)
        seconds = now() - begun
        # by the rule of the others: what is compared is equal then
        rows = work(pixels[:COMPARED], "library") if ours else rows[:COMPARED]
    return {"captions": len(pixels), "seconds": seconds, "written": rows}


def run(what: str, who: str, quick: bool) -> dict:
    torch.manual_seed(0)
    kind, number = what.split("-")
    config = published_config(quick)
    measured = train(who, config, int(number), quick) if kind == "train" else write(who, config, int(number))
    return measured | {"precision": PRECISION, "peak_memory_gib": peak_memory_gib()}


if __name__ == "__main__":
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train-1", "train-5", "write-20", "write-60"])
    parser.add_argument("who", choices=["notebook", "report", "single", "batched", "ours"])
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    print(json.dumps(run(given.what, given.who, given.quick)))
