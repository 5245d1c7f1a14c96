"""What two runs have in common, for tests that compare them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from blipvqa import Run, load_config


def weights(run: Run) -> dict:
    return load_file(run.model_folder / "model.safetensors")


def losses(run: Run) -> list[float]:
    return [row["loss"] for row in run.history if row["type"] == "step"]


def assert_same_run(a: Run, b: Run):
    torch.testing.assert_close(weights(a), weights(b), rtol=0, atol=0)
    timed = ("seconds", "rows_per_second", "peak_memory_gib")
    plain = [[{k: v for k, v in row.items() if k not in timed} for row in run.history] for run in (a, b)]
    assert plain[0] == plain[1]
    assert a.samples == b.samples


def in_two_processes(root: Path, overrides: dict) -> Run:
    """The run "two" of these settings in two CPU processes, as `accelerate launch` starts it on several GPUs."""
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / "empty.yaml").write_text("{}\n")
    pairs = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    environment = {**os.environ, "BLIPVQA_ROOT": str(root), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "blipvqa"]
    arguments = ["train", "configs/empty.yaml", "--name", "two", "--set", *pairs]
    launched = subprocess.run(
        [*launcher, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    return Run(load_config(None, overrides, "two").folder)


def tensors_of(batch) -> list[torch.Tensor]:
    """Every tensor of a batch, those of its layout too, in order."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    parts = batch.values() if isinstance(batch, dict) else getattr(batch, "__dict__", {}).values()
    return [tensor for part in parts for tensor in tensors_of(part)]
