"""How weights move: which decay, how fast, and what low-rank adapters replace."""

from __future__ import annotations

import copy
import math
import warnings

import torch

from blipvqa.config.knobs import LoraConfig, TrainConfig
from blipvqa.models.vqa import BlipForVQA

ADAPTED = {
    "vision_model": ("qkv", "projection"),
    "text_encoder": ("query", "value"),
    "text_decoder": ("query", "value"),
}


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


def add_lora(model: BlipForVQA, lora: LoraConfig) -> None:
    """Freeze `model` and put low-rank adapters into its attention (Hu et al. 2021), in place; rank 0 does nothing.

    `inject_adapter_in_model` leaves the model what it is: same class, same calls, no wrapper.
    """
    if not lora.rank:
        return
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    towers = "|".join(lora.towers)
    layers = "|".join(sorted({name for tower in lora.towers for name in ADAPTED[tower]}))
    settings = PeftConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=rf"({towers})\..*\.({layers})"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")  # no embedding is adapted
        inject_adapter_in_model(settings, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def merged(model: BlipForVQA) -> BlipForVQA:
    """The model with its adapters added into its weights: a copy, or the model itself where it has none."""
    from peft.tuners.lora import LoraLayer

    if not any(isinstance(module, LoraLayer) for module in model.modules()):
        return model
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    return model
