"""The environment does not change what a run computes; what cannot be overruled is refused by name."""

import pytest
import torch

from blipvqa.config.knobs import ConfigError
from blipvqa.models.devices import pin_number_formats
from blipvqa.runs.files import read_lines
from blipvqa.tasks import fine_tune
from blipvqa.training.accelerator import make_accelerator


@pytest.fixture
def precision_restored():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def steps(config):
    """(loss, gradient norm) of each step of a run."""
    rows = read_lines(fine_tune(config).folder / "history.jsonl")
    return [(row["loss"], row["gradient_norm"]) for row in rows if row["type"] == "step"]


def test_gradients_are_the_same_whatever_accelerate_finds_in_the_environment(tiny, monkeypatch):
    expected = steps(tiny("before", train__epochs=1, train__micro_batch_size=12))
    for name, value in {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_DOWNCAST_BF16": "1",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "ACCELERATE_DYNAMO_MODE": "max-autotune",
        "ACCELERATE_GRADIENT_CLIPPING": "0.001",
        "ACCELERATE_USE_CPU": "true",
        "ACCELERATE_USE_FSDP": "false",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "FSDP_SHARDING_STRATEGY": "1",
    }.items():
        monkeypatch.setenv(name, value)
    if torch.cuda.is_available():
        monkeypatch.delenv("ACCELERATE_USE_CPU")
    assert steps(tiny("after", train__epochs=1, train__micro_batch_size=12)) == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ACCELERATE_USE_FSDP", "true"),
        ("ACCELERATE_USE_DEEPSPEED", "1"),
        ("ACCELERATE_USE_MEGATRON_LM", "true"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true"),
        ("ACCELERATE_TORCH_DEVICE", "meta"),
    ],
)
def test_what_the_loop_does_not_do_is_refused_before_the_run_folder_is_made(tiny, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=variable):
        fine_tune(tiny())
    assert not tiny().folder.exists()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_lowers_the_precision_of_products_is_overruled_or_refused(monkeypatch, precision_restored, device):
    torch.set_float32_matmul_precision("medium")
    pin_number_formats(torch.device(device))
    assert torch.get_float32_matmul_precision() == "highest"
    name = "NVIDIA_TF32_OVERRIDE" if device == "cuda" else "ONEDNN_DEFAULT_FPMATH_MODE"
    monkeypatch.setenv(name, "1" if device == "cuda" else "BF16")
    with pytest.raises(ConfigError, match=name):
        pin_number_formats(torch.device(device))


def test_the_accelerator_computes_where_everything_else_does(tiny):
    accelerator = make_accelerator(tiny())
    assert accelerator.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert accelerator.gradient_accumulation_steps == 1
