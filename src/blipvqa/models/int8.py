"""A model for a CPU with its linear layers in whole numbers of 8 bits: a third of the size on disk and in memory.

Notable:
- Weights are rounded once, to 255 steps of the largest of each output; what goes into a layer is rounded anew, to 255
  steps of the largest of each row. A row knows nothing of its batch, so an answer does not depend on it either.
- The file holds numbers alone (safetensors, no pickle), and is not called model.safetensors: plain transformers would
  take whole numbers for weights and answer nonsense.
- Products are exact in 32 bits. Where torch has no such product (another device, an older version), and where a heat
  map needs a gradient, the weights are multiplied out for each call.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BlipConfig, PreTrainedModel

from blipvqa.config.knobs import ConfigError
from blipvqa.models.folders import INT8, ModelError, called
from blipvqa.models.weights import weights_digest

STEPS = 127.0
STORED, SCALE = "_int8", "_scale"  # after the name of a weight
FOLDER = "model-int8"  # in a run folder, beside its model/
MADE_OF = "made_of"  # in the file's header


class Int8Linear(nn.Module):
    """A linear layer of whole numbers: `[..., in]` → `[..., out]`."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        numbers, scale = rounded(layer.weight.detach())
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("numbers", numbers.t().contiguous())  # [in, out], as the product reads it
        self.register_buffer("scale", scale)  # [out]
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        followed = (
            torch.is_grad_enabled() and x.requires_grad
        )  # whole numbers have no gradient, and heat maps ask for it
        if followed or x.device.type != "cpu" or x.dtype != torch.float32 or not hasattr(torch, "_int_mm"):
            weight = (self.numbers.to(x.dtype) * self.scale.to(x.dtype)).t()
            return F.linear(x, weight, None if self.bias is None else self.bias.to(x.dtype))
        rows = x.reshape(-1, self.in_features)
        scale = rows.abs().amax(1, keepdim=True).div_(STEPS).clamp_(min=torch.finfo(torch.float32).tiny)
        products = torch._int_mm((rows / scale).round_().to(torch.int8), self.numbers)
        y = products.to(torch.float32).mul_(scale).mul_(self.scale)
        return (y if self.bias is None else y.add_(self.bias)).view(*x.shape[:-1], self.out_features)


def rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """`weight [out, in]` as whole numbers from -127 to 127, and the size of one step of each output."""
    scale = weight.abs().amax(1).div(STEPS).clamp(min=torch.finfo(torch.float32).tiny)
    return (weight / scale[:, None]).round().to(torch.int8), scale


def to_int8(model: PreTrainedModel) -> None:
    """Every linear layer of `model` as an `Int8Linear`, in place. It can be asked, and not trained."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))


def refuse_int8(model: PreTrainedModel) -> None:
    """Raises ConfigError for a model of whole numbers, which has no weights to train."""
    if any(isinstance(module, Int8Linear) for module in model.modules()):
        raise ConfigError("model.name: an int8 export can be asked and not trained; name the model it was made of")


def save_int8(weights: dict[str, Tensor], linear: set[str], path: Path, made_of: str) -> None:
    """Write `weights`, those that are named in `linear` as whole numbers with their steps; `made_of` is the
    digest of the model that they are of."""
    tensors = {}
    for name, tensor in weights.items():
        if name in linear:
            tensors[name + STORED], tensors[name + SCALE] = rounded(tensor)
        else:
            tensors[name] = tensor.contiguous()
    save_file(tensors, path, metadata={MADE_OF: made_of})  # one entry: of several the order is drawn anew each time


def linear_weights(config: BlipConfig, model_class: type[PreTrainedModel]) -> set[str]:
    """The names of the weights of every linear layer."""
    with torch.device("meta"):
        model = model_class(config)
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def read_int8(folder: Path, config: BlipConfig, model_class: type[PreTrainedModel]) -> dict[str, Tensor]:
    """The weights of an int8 export in fp32, checked by name, shape and kind of number as others are.

    Raises ModelError that names the file or the weight.
    """
    with torch.device("meta"):
        model = model_class(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    linear = linear_weights(config, model_class)
    weights = {}
    try:
        with safe_open(folder / INT8, framework="pt") as file:
            names, made_of = list(file.keys()), (file.metadata() or {}).get(MADE_OF)
            stored = {name: file.get_tensor(name) for name in names}
    except Exception as error:  # whatever safetensors says of a damaged file
        raise ModelError(f"{called(folder)}: {INT8} does not read ({' '.join(str(error).split()):.120})") from None
    _refuse_older(folder, made_of)
    for name, shape in shapes.items():
        whole = name in linear and name + STORED in stored
        if not whole and name not in stored:
            if name in model.all_tied_weights_keys:
                continue
            raise ModelError(f"{called(folder)}: weight {name} is missing from {INT8}")
        weight = stored.pop(name + STORED if whole else name)
        scale = stored.pop(name + SCALE, None) if whole else None
        fits = weight.dtype == (torch.int8 if whole else torch.float32) and tuple(weight.shape) == shape
        if not fits or (whole and (scale is None or tuple(scale.shape) != shape[:1] or scale.dtype != torch.float32)):
            raise ModelError(f"{called(folder)}: weight {name} of {INT8} does not fit the sizes of config.json")
        weights[name] = weight.float() * scale[:, None] if whole else weight
        if not torch.isfinite(weights[name].sum()):
            raise ModelError(f"{called(folder)}: weight {name} of {INT8} holds values that are no finite number")
    if stored:
        raise ModelError(f"{called(folder)}: {INT8} holds {min(stored):.120}, which this model has not")
    return weights


def _refuse_older(folder: Path, made_of: str | None) -> None:
    """Raises ModelError where the run's `model/` beside `folder` was trained further, or anew, since the export."""
    model = folder.parent / "model"
    beside = folder.name == FOLDER and (model / "config.json").is_file()
    if made_of and beside and made_of != weights_digest(model):
        raise ModelError(
            f"{called(folder)}: it was made of other weights than 'model' beside it holds now. Make it again: make "
            f"export NAME={folder.parent.name} FORM=int8; or move it elsewhere, to ask the older weights"
        )
