"""What keeping the states of a frozen vision tower saves: `python benchmarks/frozen.py [--quick] [--rounds 3]`.

A training step with adapters on the text towers, one with the vision tower frozen, a validation batch, and the passes
of an evaluation over one batch, each with and without kept states, in turns in one process. The model is the published
size with random weights, the batch 48 questions at PathVQA's lengths, about seven a picture. Prints a table, and how far
losses and answers are apart. On a CPU seconds are those of the processor, which others on the machine change little.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import contenders
import torch
from contenders import DEVICE, PRECISION, moved, our_batch, published_config, sample

from blipvqa.config.knobs import LoraConfig, TrainConfig
from blipvqa.models.adapters import add_lora, folded, freeze
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import autocast
from blipvqa.models.pictures import KeptStates
from blipvqa.models.vqa import BlipForVQA
from blipvqa.training.optimizer import make_optimizer

QUESTIONS = 48


PASSES = ("as it is", "grey", "exchanged", "asked again")  # of `vqa.evaluation`, with one model


def now() -> float:
    return time.process_time() if DEVICE.type == "cpu" else contenders.now()


def made(config, kind: str) -> BlipForVQA:
    torch.manual_seed(0)
    model = BlipForVQA(config)
    if kind == "adapters":
        add_lora(model, LoraConfig(rank=8, dropout=0.0))
    else:
        freeze(model, ["vision_model"])
    return model.to(DEVICE)


def step(model: BlipForVQA, optimizer, batch: dict) -> float:
    optimizer.zero_grad(set_to_none=True)
    with autocast(PRECISION, DEVICE):
        loss = model(**batch).loss_per_answer.mean()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def validate(model: BlipForVQA, batch: dict) -> float:
    """As the loop does: adapters are folded for it."""
    asked = {key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values", "image_index")}
    with folded(model):
        return float(model.generate_answers(**asked, max_length=6).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    reuse_memory(DEVICE)
    config = published_config(given.quick)
    data = sample("train", QUESTIONS, config.vision_config.image_size)
    batch = moved(our_batch(data, list(range(QUESTIONS))))
    print(f"{QUESTIONS} questions on {len(batch['pixel_values'])} pictures")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("adapters", "frozen vision tower"):
            compare(config, kind, batch, Path(folder), given.rounds)
        compare_prediction(config, batch, Path(folder), given.rounds)


def compare(config, kind: str, batch: dict, folder: Path, rounds: int) -> None:
    """One line for the step, and one for validation: seconds without and with kept states, and their ratio."""
    models = [made(config, kind) for _ in range(2)]
    models[1].keep_states(KeptStates(folder, 10**10))
    optimizers = [make_optimizer(model, TrainConfig()) for model in models]
    apart = 0.0
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds + 1):
        losses = []
        for which, model in enumerate(models):
            begun = now()
            losses.append(step(model.train(), optimizers[which], batch))
            seconds.setdefault(("step", which), []).append(now() - begun)
            begun = now()
            validate(model.eval(), batch)
            seconds.setdefault(("validation", which), []).append(now() - begun)
        apart = max(apart, abs(losses[0] - losses[1]) / abs(losses[0]))
    for what in ("step", "validation"):
        anew, kept = (statistics.median(seconds[what, which][1:]) for which in range(2))  # the first warms up
        print(f"{kind}, {what}: {anew:.2f} s anew, {kept:.2f} s kept, {anew / kept:.2f} times")
    print(f"{kind}: losses {apart:.1e} apart; {models[1].kept}")


@torch.no_grad()
def evaluated(model: BlipForVQA, batch: dict) -> list[torch.Tensor]:
    """The answers of each pass of an evaluation."""
    pictures = batch["pixel_values"]
    seen = dict(zip(PASSES, (pictures, torch.full_like(pictures, 110), pictures.roll(1, 0), pictures), strict=True))
    asked = {key: batch[key] for key in ("input_ids", "attention_mask", "image_index")}
    return [model.generate_answers(**asked, pixel_values=pixels, max_length=6) for pixels in seen.values()]


def compare_prediction(config, batch: dict, folder: Path, rounds: int) -> None:
    """As `compare`, of all passes of an evaluation, each time from nothing kept."""
    model = made(config, "frozen vision tower").eval()
    seconds: list[list[float]] = [[], []]
    for _ in range(rounds):
        answers = []
        for which, kept in enumerate((None, KeptStates(folder, 10**10))):
            model.keep_states(kept)
            begun = now()
            answers.append(evaluated(model, batch))
            seconds[which].append(now() - begun)
    anew, kept = map(statistics.median, seconds)
    same = all(torch.equal(*pair) for pair in zip(*answers, strict=True))
    print(f"evaluation, {len(PASSES)} passes: {anew:.2f} s anew, {kept:.2f} s kept, {anew / kept:.2f} times")
    print(f"evaluation: answers {'the same' if same else 'differ'}; {model.kept}")


if __name__ == "__main__":
    main()
