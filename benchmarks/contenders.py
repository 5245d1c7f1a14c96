"""The contenders of `make bench`, each run in a process of its own: `python contenders.py <what> <who> [--quick]`.

The model is the published size with random weights (a small one with --quick); questions are random words of real lengths,
grouped by picture as PathVQA's are (`pathvqa_lengths.json`). Prints one JSON object. The first three training steps and the
first answers warm up and are not counted: optimizer states, and the memory that is kept, come with them. On a GPU, where there
is one, in bf16.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path

import torch
from arithmetic import matmul_rate, step_operations
from transformers import BlipConfig, BlipForQuestionAnswering, Trainer, TrainingArguments

from blipvqa.config.knobs import TrainConfig
from blipvqa.models.cpu import onednn_takes, product, reuse_memory
from blipvqa.models.devices import autocast, pick_device, pick_precision
from blipvqa.models.vqa import BlipForVQA
from blipvqa.runs.environment import peak_memory_gib
from blipvqa.training.optimizer import make_optimizer
from blipvqa.vqa.batches import layout_of

LENGTHS = json.loads((Path(__file__).parent / "pathvqa_lengths.json").read_text())
DEVICE = pick_device()
PRECISION = pick_precision("auto", DEVICE)  # of every contender: bf16 on a GPU, fp32 on a CPU
WARM_UP = 3  # training steps
ENC, DEC, SEP = 30523, 30522, 102
SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
A_STEP = {"report": 8, "trainer": 8, "ours": 48}  # questions
IN_ALL = {"report": 16, "trainer": 16, "ours": 48}


def published_config(quick: bool) -> BlipConfig:
    size = (
        SMALL
        if quick
        else {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    )
    text = {
        **size,
        "vocab_size": 30524,
        "bos_token_id": DEC,
        "sep_token_id": SEP,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "encoder_hidden_size": size["hidden_size"],
        "label_smoothing": 0.1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "is_decoder": True,
        "initializer_range": 0.02,
    }
    return BlipConfig(
        text_config=text,
        vision_config={**size, "image_size": 64 if quick else 384, "patch_size": 16, "initializer_range": 0.02},
    )


def sample(what: str, count: int, side: int) -> dict:
    """The first `count` questions of the sample for "train" or "predict", their answers, the picture of each, and their groups."""
    torch.manual_seed(0)
    groups, left = [], count
    for group in LENGTHS[what]["tokens"]:
        groups.append(group[:left])
        left -= len(groups[-1])
        if not left:
            break
    index = [i for i, group in enumerate(groups) for _ in group]

    def words(first: int, n: int) -> list[int]:
        return [first, *torch.randint(1000, 20000, (n - 2,)).tolist(), SEP]

    questions = [words(ENC, min(q, 35)) for group in groups for q, _ in group]
    answers = [words(DEC, a) for group in groups for _, a in group]
    pixels = torch.randint(0, 256, (len(groups), 3, side, side), dtype=torch.uint8)
    return {
        "questions": questions,
        "answers": answers,
        "index": torch.tensor(index),
        "pixels": pixels,
        "groups": groups,
    }


def padded(rows: list[list[int]], value: int = 0, width: int | None = None) -> torch.Tensor:
    width = width or max(map(len, rows))
    return torch.tensor([(row + [value] * width)[:width] for row in rows])


def plain_batch(data: dict, rows: range, width: int | None = None) -> dict:
    """As plain transformers takes it: a picture for each question, already normalized."""
    questions = padded([data["questions"][i] for i in rows], width=width)
    return {
        "input_ids": questions,
        "attention_mask": (questions != 0).long(),
        "pixel_values": data["pixels"][data["index"][list(rows)]].float() / 128 - 1,
    }


def our_batch(data: dict, rows: list[int], answers: bool = True) -> dict:
    questions = padded([data["questions"][i] for i in rows])
    images, index = data["index"][rows].unique(return_inverse=True)
    batch = {
        "input_ids": questions,
        "attention_mask": (questions != 0).long(),
        "pixel_values": data["pixels"][images].float() / 128 - 1,
        "image_index": index,
    }
    if answers:
        labels = padded([data["answers"][i] for i in rows], -100)
        batch |= {"decoder_input_ids": labels.clamp(min=0), "labels": labels}
        batch["layout"] = layout_of(batch)
    return batch


def moved(batch: dict) -> dict:
    return {key: value.to(DEVICE) for key, value in batch.items()}


def now() -> float:
    """Seconds on a clock, once all that was asked of the device is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def machine_rates(quick: bool) -> dict[str, float]:
    """Operations a second of the fastest product of two matrices: torch's, and on a CPU oneDNN's."""
    seconds, dtype = (
        0.2 if quick else 3.0,
        {"bf16": torch.bfloat16, "fp16": torch.float16}.get(PRECISION, torch.float32),
    )
    rates = {"matmul": matmul_rate(seconds, 8192 if DEVICE.type == "cuda" else 2048, DEVICE.type, dtype)}
    if onednn_takes(torch.empty(0, device=DEVICE)):
        rates["onednn"] = matmul_rate(seconds, multiply=product)
    return rates


# ------------------------------------------------------------------------------------------------ a training step


def train_report(config: BlipConfig, data: dict, steps: list[range]) -> list[float]:
    """The report's loop, written plainly: one picture a question, 32 + 32 tokens, labels as decoder input."""
    model = BlipForQuestionAnswering(config).train().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    seconds = []
    for rows in steps:
        batch = plain_batch(data, rows, 32)
        labels = padded([data["answers"][i] for i in rows], width=32)
        begun = now()
        with autocast(PRECISION, DEVICE):
            loss = model(**moved(batch | {"labels": labels})).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(now() - begun)
    return seconds


def train_trainer(config: BlipConfig, data: dict, steps: list[range]) -> list[float]:
    """`transformers.Trainer` with dynamic padding and labels without padding."""
    torch.manual_seed(0)
    marks: list[float] = []

    class Timed(BlipForQuestionAnswering):
        def forward(self, *arguments, **keywords):
            marks.append(now())
            return super().forward(*arguments, **keywords)

    def collate(rows: list[dict]) -> dict:
        rows = [row["row"] for row in rows]
        labels = padded([data["answers"][i] for i in rows], -100)
        return plain_batch(data, rows) | {"decoder_input_ids": labels.clamp(min=0), "labels": labels}

    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            per_device_train_batch_size=len(steps[0]),
            max_steps=len(steps),
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            remove_unused_columns=False,
            learning_rate=2e-5,
            weight_decay=0.05,
            use_cpu=DEVICE.type == "cpu",
            bf16=PRECISION == "bf16",
            disable_tqdm=True,
        )
        rows = [{"row": i} for step in steps for i in step]
        Trainer(Timed(config), settings, data_collator=collate, train_dataset=rows).train()
        marks.append(now())
    return [b - a for a, b in zip(marks, marks[1:], strict=False)]


def train_ours(config: BlipConfig, data: dict, steps: list[range]) -> list[float]:
    """The step of `training.py`: shared pictures, packed tokens, fused AdamW, clipped gradients, memory kept."""
    reuse_memory(DEVICE)
    model = BlipForVQA(config).train().to(DEVICE)
    optimizer = make_optimizer(model, TrainConfig())
    seconds = []
    for rows in steps:
        batch = our_batch(data, list(rows))
        begun = now()
        optimizer.zero_grad(set_to_none=True)
        with autocast(PRECISION, DEVICE):
            loss = model(**moved(batch)).loss_per_answer.sum() / len(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seconds.append(now() - begun)
    return seconds


# ------------------------------------------------------------------------------------------------ prediction


@torch.no_grad()
def predict_single(model: BlipForQuestionAnswering, data: dict, count: int) -> list[list[int]]:
    return [
        row
        for i in range(count)
        for row in model.generate(**moved(plain_batch(data, range(i, i + 1))), max_length=6).tolist()
    ]


@torch.no_grad()
def predict_batched(model: BlipForQuestionAnswering, data: dict, count: int) -> list[list[int]]:
    batches = [plain_batch(data, range(i, min(i + 8, count))) for i in range(0, count, 8)]
    return [row for batch in batches for row in model.generate(**moved(batch), max_length=6).tolist()]


@torch.no_grad()
def predict_ours(model: BlipForVQA, data: dict, count: int) -> list[list[int]]:
    return model.generate_answers(**moved(our_batch(data, list(range(count)), answers=False)), max_length=6).tolist()


PREDICT = {"single": predict_single, "batched": predict_batched, "ours": predict_ours}
PREDICT_QUESTIONS = {"single": 16, "batched": 16, "ours": 61}
FIRST_ANSWERS = {"single": 1, "batched": 8, "ours": 61}  # these warm up, and are asked again


def run(what: str, who: str, quick: bool) -> dict:
    config = published_config(quick)
    side = config.vision_config.image_size
    torch.manual_seed(0)
    if what == "train":
        data = sample(what, IN_ALL[who], side)
        steps = [range(i, i + A_STEP[who]) for i in range(0, IN_ALL[who], A_STEP[who])]
        steps = steps[:1] * WARM_UP + steps
        before = machine_rates(quick)
        seconds = {"report": train_report, "trainer": train_trainer, "ours": train_ours}[who](config, data, steps)[
            WARM_UP:
        ]
        rates = {by: max(rate, before[by]) for by, rate in machine_rates(quick).items()}
        done = step_operations(config, data["groups"]) / sum(seconds)  # a second
        return {
            "questions": IN_ALL[who],
            "seconds": sum(seconds),
            "peak_memory_gib": peak_memory_gib(),
            "rates": rates,
            "shares": {by: done / rate for by, rate in rates.items()},
        }
    count = PREDICT_QUESTIONS[who]
    data = sample(what, PREDICT_QUESTIONS["ours"], side)
    if who == "ours":
        reuse_memory(DEVICE)
    model = (BlipForVQA if who == "ours" else BlipForQuestionAnswering)(config).eval().to(DEVICE)
    with autocast(PRECISION, DEVICE):
        PREDICT[who](model, data, FIRST_ANSWERS[who])
        begun = now()
        answers = PREDICT[who](model, data, count)
        seconds = now() - begun
    return {
        "questions": count,
        "seconds": seconds,
        "peak_memory_gib": peak_memory_gib(),
        "precision": PRECISION,
        "answers": [row[1:] for row in answers[:16]],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "predict"])
    parser.add_argument("who")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(json.dumps(run(given.what, given.who, given.quick)))
