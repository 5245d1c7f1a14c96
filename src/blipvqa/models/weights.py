"""The weights of a model folder: safetensors whose names, shapes and values are those of the architecture.

Notable:
- Names and shapes are compared before a tensor is read. transformers leaves what it does not find at random values,
  so that a folder of another model loads and answers nonsense.
- Pickled weights are not read: unpickling runs what the file says.
- `weights_digest` is a fingerprint of content: answers stored for one folder are not those of its next content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import BlipConfig, PreTrainedModel

from blipvqa.config.kinds import Towers
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.models.folders import READ, ModelError, called, model_folder, read_json, revision_of

NUMBER_FORMATS = ("F64", "F32", "F16", "BF16")
PART = re.compile(r"model-\d{1,6}-of-\d{1,6}\.safetensors")
STORED_BY_OLDER_VERSIONS = re.compile(r"(.+\.)?position_ids")  # 0, 1, 2, …: no weight
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def read_weights(folder: Path, config: BlipConfig, model_class: type[PreTrainedModel]) -> dict[str, Tensor]:
    """Every weight of `model_class` at `config`'s sizes, in fp32.

    Raises ModelError that names the file or the weight: missing, of another shape or model, not a finite number.
    """
    with ExitStack() as stack:
        file_of = _files_of_tensors(folder, stack)
        _check_names(folder, config, model_class, file_of)
        return {name: _read_finite(folder, name, file_of[name]) for name in sorted(file_of)}


def read_named(
    folder: Path,
    shapes: Mapping[str, list[int]],
    names: Callable[[str], str | None],
    optional: Mapping[str, list[int]] | None = None,
) -> dict[str, Tensor]:
    """Weights of a model that is no BLIP, in fp32, by the names that `names` gives for the stored ones; `optional` ones
    are read where all of them are there.

    Raises ModelError where one of `shapes` is missing or has another shape, and as `read_weights`.
    """
    with ExitStack() as stack:
        files = _files_of_tensors(folder, stack)
        stored_of = {names(stored): stored for stored in sorted(files)}
        shapes = {**shapes, **(optional if optional and optional.keys() <= stored_of.keys() else {})}
        stored_as = {own: stored for own, stored in stored_of.items() if own in shapes}
        if missing := sorted(shapes.keys() - stored_as.keys()):
            raise ModelError(f"{called(folder)}: {_some(missing)} of its weights are missing")
        for own, stored in stored_as.items():
            _check_tensor(folder, stored, files[stored], shapes[own])
        return {own: _read_finite(folder, stored, files[stored]) for own, stored in stored_as.items()}


def _files_of_tensors(folder: Path, stack: ExitStack) -> dict[str, safe_open]:
    """Which open file holds which weight: one file, or the parts that an index names."""
    if (folder / "model.safetensors").is_file():
        file = _open(folder, "model.safetensors", stack)
        file_of = dict.fromkeys(file.keys(), file)
    elif (folder / "model.safetensors.index.json").is_file():
        file_of = _files_of_index(folder, stack)
    else:
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        instead = f"only {', '.join(pickles)[:120]}, whose format can hold code" if pickles else "none"
        raise ModelError(
            f"{called(folder)}: weights are read from model.safetensors, found {instead}. "
            "Save the model with transformers' save_pretrained, which writes that file."
        )
    return {name: file for name, file in file_of.items() if not STORED_BY_OLDER_VERSIONS.fullmatch(name)}


def _files_of_index(folder: Path, stack: ExitStack) -> dict[str, safe_open]:
    index = "model.safetensors.index.json"
    weight_map = read_json(folder, index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ModelError(f"{called(folder)}: {index} has no weight_map of weights to files")
    for name in weight_map.values():
        if not isinstance(name, str) or not PART.fullmatch(name):
            raise ModelError(
                f"{called(folder)}: {index} points to {name!r:.120}, expected a file of this folder that is called "
                "like model-00001-of-00002.safetensors"
            )
    files = {name: _open(folder, name, stack) for name in sorted(set(weight_map.values()))}
    contents = {name: set(file.keys()) for name, file in files.items()}
    for tensor, name in weight_map.items():
        if tensor not in contents[name]:
            raise ModelError(f"{called(folder)}: {index} says that {name} holds {tensor:.120}, and it does not")
    return {tensor: files[name] for tensor, name in weight_map.items()}


def _open(folder: Path, name: str, stack: ExitStack) -> safe_open:
    if not (folder / name).is_file():
        raise ModelError(f"{called(folder)} has no {name}, which its index names")
    try:
        return stack.enter_context(safe_open(folder / name, framework="pt"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{called(folder)}: {name} is damaged or no safetensors file ({' '.join(str(error).split()):.120}). "
            "Copy or download it again."
        ) from None


def _check_names(
    folder: Path, config: BlipConfig, model_class: type[PreTrainedModel], file_of: dict[str, safe_open]
) -> None:
    """Compare names, shapes and number formats with the architecture's, before any weight is read."""
    with torch.device("meta"):  # shapes without memory
        model = model_class(config)
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    optional = model._keys_to_ignore_on_load_missing or ()
    absent = shapes.keys() - file_of.keys() - model.all_tied_weights_keys.keys()
    missing = sorted(name for name in absent if not any(re.match(pattern, name) for pattern in optional))
    strange = sorted(file_of.keys() - shapes.keys())
    if missing or strange:
        raise ModelError(
            f"{called(folder)}: its weights are not those of BLIP for {model_class.purpose} at the sizes of "
            f"config.json: {_some(missing)} missing, {_some(strange)} not known"
        )
    for name, file in file_of.items():
        _check_tensor(folder, name, file, shapes[name])


def _check_tensor(folder: Path, name: str, file: safe_open, shape: list[int]) -> None:
    stored = file.get_slice(name)
    if stored.get_shape() != shape:
        raise ModelError(
            f"{called(folder)}: weight {name} has shape {stored.get_shape()}, config.json asks for {shape}"
        )
    if stored.get_dtype() not in NUMBER_FORMATS:
        raise ModelError(
            f"{called(folder)}: weight {name} is stored as {stored.get_dtype()}, "
            f"expected {', '.join(NUMBER_FORMATS)}: quantized weights are not read"
        )


def _some(names: list[str]) -> str:
    return f"{len(names)} ({names[0]:.120}{', …' * (len(names) > 1)})" if names else "0"


def _read_finite(folder: Path, name: str, file: safe_open) -> Tensor:
    tensor = file.get_tensor(name).to(torch.float32, copy=True)  # or what overwrites the file in place alters the model
    if not torch.isfinite(tensor.sum()):  # the sum takes no memory; only where it is odd are all values looked at
        count = int((~torch.isfinite(tensor)).sum())
        if not count:
            return tensor
        raise ModelError(
            f"{called(folder)}: weight {name} holds {count} of {tensor.numel()} values that are no finite number"
        )
    return tensor


# ---------------------------------------------------------------------------------------- fingerprints


def weights_digest(
    source: str | Path | Towers | torch.nn.Module, config: Config | None = None, texts: Iterable[str] | None = None
) -> str:
    """A sha256, in hex, of what a model's answers depend on, the settings of a run aside.

    Of a model: its weights. Of a folder: the content of every file that loading reads. Of a Hub id: the revision. Of
    "scratch", with the same `config` and `texts` as for `load_model`: sizes, seed and texts. Of several put together:
    each one's, and the seed of what is new.
    """
    digest = hashlib.sha256()
    if isinstance(source, torch.nn.Module):
        return tensors_digest(source.state_dict())
    elif source == "scratch":
        scratch = config.model.scratch.model_dump(mode="json")
        settings = [scratch, config.task, config.model.image_size, config.seed]
        digest.update(json.dumps([*settings, sorted(texts)]).encode())
    elif isinstance(source, Towers):
        for part, name in sorted(source.model_dump().items()):
            digest.update(f"{part} {weights_digest(name)} {config.seed}\n".encode())
    elif project_path(source).is_dir():
        for path in sorted({path for pattern in READ for path in project_path(source).glob(pattern)}):
            with open(path, "rb") as file:
                digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    else:
        snapshot = model_folder(str(source), revision_of(source, config))
        digest.update(f"{source}@{snapshot.name}".encode())  # which is called as its commit
    return digest.hexdigest()


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """A sha256, in hex, of named tensors, bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
