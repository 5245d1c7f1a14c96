"""Which device and number format to compute with."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from blipvqa.config.knobs import ConfigError

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(wanted: str, device: torch.device) -> str:
    """`train.precision` for `device`: "auto" is bf16 where the hardware computes it, fp16 on older GPUs, fp32 on CPU.

    `is_bf16_supported()` alone also counts emulation, which is slower than fp32 (docs/facts.md 1.16).
    Raises ConfigError for what the device cannot do.
    """
    gpu = device.type == "cuda"
    real_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return "bf16" if real_bf16 else "fp16" if gpu else "fp32"
    if wanted == "fp16" and not gpu:
        raise ConfigError("train.precision: fp16 needs a GPU; found none. Use fp32, or auto.")
    return wanted


def autocast(precision: str, device: torch.device):
    """A context in which matrix products run in `precision`."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[precision])


def describe_device(device: torch.device) -> str:
    """For people: the GPU's name and memory, or the CPU's threads."""
    if device.type != "cuda":
        return f"CPU, {torch.get_num_threads()} threads"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
