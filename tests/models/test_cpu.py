"""Linear layers by oneDNN: torch's numbers and gradients, and used where they should be."""

import copy
import platform

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from blipvqa.models import cpu

ELSEWHERE = (platform.system(), platform.machine()) != ("Linux", "x86_64")
pytestmark = pytest.mark.skipif(ELSEWHERE, reason="torch may come without oneDNN here")


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
