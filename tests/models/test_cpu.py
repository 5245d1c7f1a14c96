"""Linear layers by oneDNN: torch's numbers and gradients, and used where they should be."""

import copy
import os
import platform
import subprocess
import sys

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from blipvqa import fine_tune
from blipvqa.models import cpu, devices

ELSEWHERE = (platform.system(), platform.machine()) != ("Linux", "x86_64")
pytestmark = pytest.mark.skipif(ELSEWHERE, reason="torch may come without oneDNN here")


@pytest.fixture(autouse=True)
def as_with_avx512(monkeypatch):
    """What is asked here holds of every processor, whether it gains by it or not."""
    monkeypatch.setattr(cpu, "WORTH_IT", 2**25)


def onednn_calls(function) -> int:
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        function()
    return sum(event.count for event in seen.key_averages() if event.key == "mkldnn::_linear_pointwise")


@pytest.mark.parametrize("bias", [True, False])
def test_a_large_linear_layer_has_torchs_numbers_and_gradients(bias):
    torch.manual_seed(0)
    plain = torch.nn.Linear(96, 256, bias=bias)
    ours = copy.deepcopy(plain)
    cpu.speed_up(torch.nn.Sequential(ours))
    x = torch.randn(3, 700, 96, requires_grad=True)
    expected, found = (
        [layer(x), *torch.autograd.grad(layer(x).sin().sum(), [x, *layer.parameters()])] for layer in (plain, ours)
    )
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert onednn_calls(lambda: ours(x)) == 1
    assert onednn_calls(lambda: plain(x)) == 0


def test_oneDNN_multiplies_only_where_it_gains():
    """On a Zen 3, which has no AVX-512, a step of training took 22.5 s through it and 18.5 without; one of writing gains."""
    for capability, multiplies in (("avx2", False), ("default", True)):
        code = "import blipvqa.models.cpu as cpu; print(cpu.WORTH_IT == 2**25, cpu.STEP_WORTH_IT == 2**21)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"ATEN_CPU_CAPABILITY": capability},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().split() == [str(multiplies), "True"]


def test_only_large_fp32_products_leave_the_usual_way():
    layer = cpu.Linear(96, 256)
    large = torch.randn(2000, 96)
    with torch.autocast("cpu", torch.bfloat16):
        assert onednn_calls(lambda: layer(large)) == 0
        assert layer(large).dtype == torch.bfloat16
    assert onednn_calls(lambda: layer(large[:100])) == 0
    assert onednn_calls(lambda: layer.double()(large.double())) == 0


def test_frozen_weights_get_no_gradient():
    layer = cpu.Linear(96, 256).requires_grad_(False)
    x = torch.randn(2000, 96, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(2000, -1), atol=1e-4, rtol=1e-4)


def test_speeding_up_keeps_subclasses_and_names():
    class Other(torch.nn.Linear):
        pass

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), Other(2, 2))
    names = list(model.state_dict())
    cpu.speed_up(model)
    assert [type(layer) for layer in model] == [cpu.Linear, Other]
    assert list(model.state_dict()) == names


def test_large_products_in_bf16_are_near_theirs_and_small_ones_stay():
    torch.manual_seed(0)
    layer = cpu.Linear(96, 256)
    x = torch.randn(2000, 96, requires_grad=True)

    def numbers():
        y = layer(x)
        return [y, *torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()])]

    exact, small = numbers(), layer(x[:100])
    with cpu.large_products_in_bf16():
        rough = numbers()
        assert torch.equal(layer(x[:100]), small)
        with cpu.large_products_in_bf16(False):
            assert torch.equal(layer(x), exact[0])
    assert torch.equal(layer(x), exact[0])
    for a, b in zip(exact, rough, strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() / a.norm() < 0.01


@pytest.mark.parametrize(("can", "computed"), [(True, "bf16"), (False, "fp32")])
def test_bf16_is_computed_where_the_processor_has_it_and_else_said(can, computed, tiny, monkeypatch, capsys):
    monkeypatch.setattr(devices, "computes_bf16", lambda: can)
    monkeypatch.setattr(cpu, "WORTH_IT", 1)
    exact = fine_tune(tiny("exact", train__epochs=1))
    run = fine_tune(tiny("half", train__epochs=1, train__precision="bf16"))
    assert run.environment["precision"] == computed
    assert ("they are computed in fp32" in capsys.readouterr().out) != can
    losses = [[row["loss"] for row in each.history if row["type"] == "step"] for each in (exact, run)]
    assert (losses[0] != losses[1]) == can
    torch.testing.assert_close(*losses, rtol=0.01, atol=0)


def test_auto_stays_exact_on_a_cpu_and_prediction_may_differ_from_training(tiny, monkeypatch):
    monkeypatch.setattr(devices, "computes_bf16", lambda: True)
    place = torch.device("cpu")
    assert devices.prediction_precision(tiny(), place) == "fp32"
    assert devices.prediction_precision(tiny(train__precision="bf16"), place) == "bf16"
    assert devices.prediction_precision(tiny(train__precision="bf16", generate__precision="fp32"), place) == "fp32"
