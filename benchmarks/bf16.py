"""A training step and answers with large products in bf16 and in fp32 on a CPU: `python benchmarks/bf16.py [--quick] [--rounds 3]`.

In turns in one process, on the published size with random weights and 48 questions at PathVQA's lengths. Prints seconds,
their ratio, and how far loss and gradient of the first step are apart. It measures what a processor with bf16 gains; on
another, where bf16 is converted, `train.precision: bf16` computes in fp32, and this says how much slower it would be.
"""

from __future__ import annotations

import argparse
import copy
import statistics

import torch
from contenders import moved, now, our_batch, published_config, sample

from blipvqa.config.knobs import TrainConfig
from blipvqa.models.cpu import computes_bf16, large_products_in_bf16, reuse_memory
from blipvqa.models.vqa import BlipForVQA
from blipvqa.training.optimizer import make_optimizer

QUESTIONS = 48


def step(model: BlipForVQA, optimizer, batch: dict) -> tuple[float, torch.Tensor]:
    """The loss, and the gradient of everything in one row."""
    optimizer.zero_grad(set_to_none=True)
    loss = model(**batch).loss_per_answer.mean()
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    optimizer.step()
    return float(loss.detach()), gradient


@torch.no_grad()
def answer(model: BlipForVQA, batch: dict) -> torch.Tensor:
    asked = {key: batch[key] for key in ("input_ids", "attention_mask", "pixel_values", "image_index")}
    return model.generate_answers(**asked, max_length=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    reuse_memory(torch.device("cpu"))
    torch.manual_seed(0)
    config = published_config(given.quick)
    models = {False: BlipForVQA(config)}
    models[True] = copy.deepcopy(models[False])
    optimizers = {half: make_optimizer(model, TrainConfig()) for half, model in models.items()}
    batch = moved(our_batch(sample("train", QUESTIONS, config.vision_config.image_size), list(range(QUESTIONS))))
    seconds: dict[tuple[str, bool], list[float]] = {}
    first: dict[bool, tuple[float, torch.Tensor]] = {}
    for _ in range(given.rounds + 1):
        for half, model in models.items():
            with large_products_in_bf16(half):
                began = now()
                taken = step(model.train(), optimizers[half], batch)
                stepped = now()
                answer(model.eval(), batch)
                seconds.setdefault(("step", half), []).append(stepped - began)
                seconds.setdefault(("answers", half), []).append(now() - stepped)
            first.setdefault(half, taken)
    print(f"this processor computes bf16 itself: {'yes' if computes_bf16() else 'no'}")
    for what in ("step", "answers"):
        fp32, bf16 = (statistics.median(seconds[what, half][1:]) for half in (False, True))
        print(f"{what:8} fp32 {fp32:8.3f} s   bf16 {bf16:8.3f} s   {fp32 / bf16:.2f} times")
    (loss, gradient), (rough_loss, rough_gradient) = first[False], first[True]
    print(f"loss {loss:.5f} and {rough_loss:.5f}: {abs(rough_loss / loss - 1):.1e} apart")
    print(f"gradient {float((rough_gradient - gradient).norm() / gradient.norm()):.2%} apart")


if __name__ == "__main__":
    main()
