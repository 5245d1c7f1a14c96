"""What two runs have in common, for tests that compare them."""

import torch
from safetensors.torch import load_file

from blipvqa import Run


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
