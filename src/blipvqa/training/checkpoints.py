"""Checkpoints that a kill cannot harm: weights, optimizer and position of a run, in safetensors and JSON.

Notable:
- Nothing is pickled: tensors in one safetensors file, everything else in a JSON file beside it, written last, with
  the digest of the first. Without it, or with another digest, a checkpoint does not count and the one before does.
- No random states are stored: each step seeds its own from (seed, step, process), so there is nothing to restore.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from blipvqa.runs.files import remove, replacing, write_json
from blipvqa.runs.run import RunError
from blipvqa.runs.seals import digest_of_file


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that training changes, each tied one once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save_checkpoint(
    folder: Path,
    step: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict,
    keep: int,
    remembered: dict[str, Tensor] | None = None,
) -> None:
    """Write `folder/step-<step>.safetensors` and `.json`, then remove all but the last `keep` up to this step.

    `remembered` are tensors beside the trained weights that a model cannot go on without (momentum towers, queues).
    """
    tensors = {f"model.{name}": parameter.detach() for name, parameter in trainable(model).items()}
    names = {parameter: name for name, parameter in trainable(model).items()}
    for parameter, slots in optimizer.state.items():
        tensors |= {f"optimizer.{names[parameter]}.{slot}": torch.as_tensor(value) for slot, value in slots.items()}
    tensors |= {f"remembered.{name}": tensor for name, tensor in (remembered or {}).items()}
    path = folder / f"step-{step:08d}.safetensors"
    with replacing(path) as beside:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside)
    write_json(path.with_suffix(".json"), {"step": step, "sha256": digest_of_file(path), "state": state})
    _prune(folder, step, keep)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict, list[str]]:
    """The last good checkpoint of `folder`: its tensors, its state, and a line for each that was torn.

    Without any: ({}, {}, notes).
    """
    notes = []
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            if digest_of_file(path) != described["sha256"]:
                raise ValueError("its content is not what was written")
            return load_file(path), described["state"], notes
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            notes.append(f"checkpoint {path.stem} is not used: {_reason(error)}")
    return {}, {}, notes


def restore(
    tensors: dict[str, Tensor],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    remembered: dict[str, Tensor] | None = None,
) -> None:
    """Put `load_checkpoint`'s tensors back, bit for bit, those of `remembered` in place.

    Raises RunError where they do not fit the model.
    """
    parameters = trainable(model)
    stored = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    if stored.keys() != parameters.keys():
        odd = sorted(stored.keys() ^ parameters.keys())[:3]
        raise RunError(f"the checkpoint is of another model: {odd} in only one of them. Use fresh: true.")
    remembered = remembered or {}
    queues = {name.removeprefix("remembered."): t for name, t in tensors.items() if name.startswith("remembered.")}
    if queues.keys() != remembered.keys():
        odd = sorted(queues.keys() ^ remembered.keys())[:3]
        raise RunError(f"the checkpoint remembers other tensors: {odd} in only one of them. Use fresh: true.")
    with torch.no_grad():
        for name, tensor in remembered.items():
            tensor.copy_(queues[name])
        for name, parameter in parameters.items():
            parameter.copy_(stored[name])
    for name, parameter in parameters.items():
        prefix = f"optimizer.{name}."
        # "step" stays where it is stored: fused optimizers keep it on the device, others on the CPU
        slots = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
        if slots:
            fused = optimizer.defaults.get("fused")
            optimizer.state[parameter] = {
                slot: t.clone() if slot == "step" and not fused else t.to(parameter.device) for slot, t in slots.items()
            }


def check_space(folder: Path, model: torch.nn.Module, keep: int, remembered: dict[str, Tensor] | None = None) -> None:
    """Raises RunError before training when the disk cannot hold the checkpoints: one more than is kept while the new
    one is written, 12 bytes a trained weight (weight and two Adam moments) and what is remembered beside them; and two
    exports of 4 bytes a weight."""
    beside = sum(tensor.nbytes for tensor in (remembered or {}).values())
    trained = sum(parameter.numel() for parameter in trainable(model).values())
    needed = (12 * trained + beside) * (keep + 1) + 2 * 4 * sum(parameter.numel() for parameter in model.parameters())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RunError(
            f"the disk of '{folder.name}' has {free / 2**30:.1f} GiB free, the run needs "
            f"{needed / 2**30:.1f} GiB for its checkpoints and export. Free some, or train fewer weights "
            "(model.lora.rank)."
        )


def _prune(folder: Path, step: int, keep: int) -> None:
    """Remove all checkpoints but the last `keep` up to `step`.

    Those of later steps could not be read, or training would have gone on from them. Were they counted among the last,
    the good ones would be removed in their favour.
    """
    paths = sorted(folder.glob("step-*.safetensors"))
    current = [path for path in paths if path.stem <= f"step-{step:08d}"]
    for path in [*current[:-keep], *paths[len(current) :]]:
        remove(path)
        remove(path.with_suffix(".json"))


def remove_orphans(folder: Path) -> None:
    """Remove the notes of checkpoints whose tensors are gone: a kill came between the two removals."""
    for path in folder.glob("step-*.json"):
        if not path.with_suffix(".safetensors").exists():
            remove(path)


def _reason(error: Exception) -> str:
    return "it was not completed" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:160]
