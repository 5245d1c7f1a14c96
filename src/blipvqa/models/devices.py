"""Which device and number format to compute with."""

from __future__ import annotations

import os
from contextlib import nullcontext

import torch

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.models.cpu import computes_bf16, large_products_in_bf16

FORMATS_OF_ONEDNN = ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(wanted: str, device: torch.device) -> str:
    """`train.precision` for `device`: "auto" is bf16 where the hardware computes it, fp16 on older GPUs, fp32 on CPU.

    `is_bf16_supported()` alone also counts emulation, which is slower than fp32 (docs/facts.md 1.16). A processor
    without bf16 computes in fp32 what is asked for in bf16: a run of a GPU can be evaluated there. Raises ConfigError
    for what the device cannot do.
    """
    gpu = device.type == "cuda"
    real_bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return "bf16" if real_bf16 else "fp16" if gpu else "fp32"
    if wanted == "fp16" and not gpu:
        raise ConfigError("train.precision: fp16 needs a GPU; found none. Use fp32, or auto.")
    if wanted == "bf16" and device.type == "cpu" and not computes_bf16():
        return "fp32"
    return wanted


def prediction_precision(config: Config, device: torch.device) -> str:
    """`generate.precision`, or that of training, for `device`."""
    return pick_precision(config.generate.precision or config.train.precision, device)


def pin_number_formats(device: torch.device) -> None:
    """Products of fp32 numbers are computed in fp32, whatever the environment asks of torch.

    `TORCH_ALLOW_TF32_CUBLAS_OVERRIDE` is overruled. The libraries below torch read variables of their own, which
    nothing in this process can overrule: raises ConfigError that names one which lowers the precision.
    """
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True  # torch's default, for the convolution that cuts an image into patches
    names = ("NVIDIA_TF32_OVERRIDE",) if device.type == "cuda" else FORMATS_OF_ONEDNN
    for name in names:
        value = os.environ.get(name, "").strip()
        if value and value.upper() not in ("0", "STRICT"):
            raise ConfigError(
                f"{name}={value} in the environment lowers the precision of fp32 products: unset it. "
                "train.precision says what to compute with."
            )


def autocast(precision: str, device: torch.device):
    """A context in which matrix products run in `precision`; in bf16 on a CPU, the large ones of linear layers."""
    if device.type == "cpu":
        return large_products_in_bf16(precision == "bf16")
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, AUTOCAST[precision])


def describe_device(device: torch.device) -> str:
    """For people: the GPU's name and memory, or the CPU's threads."""
    if device.type != "cuda":
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' * (threads != 1)}"
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
