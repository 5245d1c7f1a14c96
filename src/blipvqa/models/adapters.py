"""Low-rank adapters (Hu et al. 2021, "LoRA"): a few trained weights beside many frozen ones."""

from __future__ import annotations

import copy
import warnings

from transformers import PreTrainedModel

from blipvqa.config.knobs import ConfigError, LoraConfig

ADAPTED = {  # the layers of each tower that get one
    "vision_model": ("qkv", "projection"),
    "text_encoder": ("query", "value"),
    "text_decoder": ("query", "value"),
}


def add_lora(model: PreTrainedModel, lora: LoraConfig) -> None:
    """Freeze `model` and put low-rank adapters into its attention, in place; rank 0 does nothing.

    `inject_adapter_in_model` leaves the model what it is: same class, same calls, no wrapper.
    """
    if not lora.rank:
        return
    if not any(hasattr(model, tower) for tower in lora.towers):
        there = ", ".join(tower for tower in ADAPTED if hasattr(model, tower))
        raise ConfigError(f"model.lora.towers: this model has no {', '.join(lora.towers)}, only {there}")
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


def merged(model: PreTrainedModel) -> PreTrainedModel:
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
