"""The accelerator of a run, whose numbers follow from the config alone.

Notable:
- accelerate takes what it is not told from the environment: `ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4` alone would
  quarter every gradient, since we accumulate ourselves. So it is told everything that changes numbers.
- What would change how weights are held, which our checkpoints do not know, is refused.
"""

from __future__ import annotations

import os

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

from blipvqa.config.knobs import Config, ConfigError
from blipvqa.models.cpu import reuse_memory
from blipvqa.models.devices import pick_device, pick_precision, pin_number_formats

SHARDED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}


def make_accelerator(config: Config) -> Accelerator:
    """The accelerator for `config`, on the device of `pick_device`, whatever the environment holds.

    Raises ConfigError that names a variable which asks for what this loop does not do.
    """
    device = pick_device()
    _refuse(device.type)
    pin_number_formats(device)
    reuse_memory(device)
    AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
    precision = pick_precision(config.train.precision, device)
    if config.train.precision == "bf16" != precision:
        print("train.precision: this processor computes no products in bf16: they are computed in fp32")
    return Accelerator(
        cpu=device.type == "cpu",
        # a CPU's large products alone are in bf16 (`models.cpu`), which accelerate knows nothing of
        mixed_precision="no" if precision == "fp32" or device.type == "cpu" else precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_backend="no",  # train.compile compiles the vision tower only
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],  # gradients stand there once
        log_with=config.train.tracker,
        project_dir=str(config.folder),
    )


def _refuse(device_type: str) -> None:
    for variable, name in SHARDED.items():
        if _is_on(variable):
            raise ConfigError(
                f"the environment asks for {name} ({variable}={os.environ[variable]}), which this loop does not do: "
                "its checkpoints hold whole weights. Unset it, or use `accelerate launch --multi_gpu`."
            )
    other = os.environ.get("ACCELERATE_TORCH_DEVICE", device_type).partition(":")[0]
    if other != device_type or (_is_on("ACCELERATE_USE_CPU") and device_type != "cpu"):
        raise ConfigError(
            f"the environment asks for another device than {device_type} (ACCELERATE_TORCH_DEVICE or "
            "ACCELERATE_USE_CPU). Unset these; to train on a CPU, hide the GPU with CUDA_VISIBLE_DEVICES=''."
        )


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on", "y", "t")
