"""Which weights are trained: towers that stay frozen, and low-rank adapters (Hu et al. 2021, "LoRA") beside them.

Notable:
- They are peft's own layers, so `save_adapter` writes what `PeftModel.from_pretrained` puts onto the base model.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file
from transformers import BlipProcessor, PreTrainedModel

from blipvqa.config.knobs import Config, ConfigError, LoraConfig
from blipvqa.config.paths import project_path

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
        raise ConfigError(f"model.lora.towers: this model has no {', '.join(lora.towers)}, only {_towers_of(model)}")
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


def freeze(model: PreTrainedModel, towers: list[str]) -> None:
    """Have training leave `towers` of `model` as they are. Raises ConfigError for a tower that it does not have."""
    for tower in towers:
        if not hasattr(model, tower):
            raise ConfigError(f"model.freeze: this model has no {tower}, only {_towers_of(model)}")
        model.get_submodule(tower).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("model.freeze: nothing is left to train")


def _towers_of(model: PreTrainedModel) -> str:
    return ", ".join(tower for tower in ADAPTED if hasattr(model, tower))


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """The model with its adapters added into its weights: a copy, or the model itself where it has none."""
    if not has_adapters(model):
        return model
    from peft.tuners.lora import LoraLayer

    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    return model


@contextmanager
def folded(model: PreTrainedModel) -> Iterator[None]:
    """Within, the adapters are added into the weights beside them, as in the export: the same answers to the last bit,
    and no product for an adapter. Afterwards each weight is the very tensor that it was: taken out again by
    subtraction it would be another number."""
    if not has_adapters(model):
        yield
        return
    from peft.tuners.lora import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    weights = [layer.get_base_layer().weight.data for layer in layers]
    try:
        for layer, weight in zip(layers, weights, strict=True):
            layer.get_base_layer().weight.data = weight.clone()
            layer.merge()
        yield
    finally:
        for layer, weight in zip(layers, weights, strict=True):
            layer.get_base_layer().weight.data = weight
            layer.merged_adapters.clear()


def has_adapters(model: PreTrainedModel) -> bool:
    """Whether `add_lora` put adapters into this model."""
    return hasattr(model, "peft_config")


def save_adapter(model: PreTrainedModel, processor: BlipProcessor, config: Config, folder: Path) -> None:
    """Write the adapters of `model` to `folder` in peft's form, with the processor that asks as in training.

    A base model that lies in a folder of this machine is not named in it: who loads the adapter brings the base.
    """
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"base_model.model.{name}": tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(model).items()
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    base = None if project_path(config.model.name).exists() else config.model.name
    settings = model.peft_config["default"].to_dict() | {
        "base_model_name_or_path": base,
        "revision": config.model.revision,
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
    processor.save_pretrained(folder)
    (folder / "README.md").write_text(_card(model, base, config.model.image_size), encoding="utf-8")


def _card(model: PreTrainedModel, base: str | None, image_size: int) -> str:
    matter = f"---\nbase_model: {base}\nlibrary_name: peft\n---\n\n" if base else ""
    return f"""{matter}# A low-rank adapter for BLIP

**This is no medical device.** It changes the model that it was trained on, and is nothing without it:

```python
from peft import PeftModel
from transformers import {model.architecture}, BlipProcessor

processor = BlipProcessor.from_pretrained("this-folder")
base = {model.architecture}.from_pretrained("{base or "the-base-model"}")
model = PeftModel.from_pretrained(base, "this-folder").eval()
```

It was trained on pictures of {image_size} pixels. Where the base model was made for another size, call it with
`interpolate_pos_encoding=True`.
"""
