"""How weights move: with which decay, and how fast."""

from __future__ import annotations

import math

import torch

from blipvqa.config.knobs import TrainConfig


def make_optimizer(model: torch.nn.Module, train: TrainConfig) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only, not on biases, norms and other vectors. Fused, on CPU and GPU."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=train.learning_rate, fused=True)


def learning_rate(step: int, steps: int, train: TrainConfig) -> float:
    """The rate of optimizer step `step` (0 to steps - 1): linear warm-up, then a cosine to 0, or constant."""
    warmup = round(train.warmup * steps)
    if step < warmup:
        return train.learning_rate * (step + 1) / (warmup + 1)
    if train.schedule == "constant":
        return train.learning_rate
    return train.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
