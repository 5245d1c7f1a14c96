"""Attention: the same numbers whichever way it is computed, and no work for queries that are not there."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from blipvqa.models import cpu
from blipvqa.models.attention import attend

LENGTHS = [3, 7, 0, 40]  # real queries of each row of 40; of the third, none


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return [torch.randn(4, n, 3, 16).transpose(1, 2).requires_grad_() for n in (40, 60, 60)]  # [B, H, L, d]


def real(out):
    return torch.cat([row[:, :n].flatten() for row, n in zip(out, LENGTHS, strict=True)])


def test_row_by_row_gives_the_same_numbers_and_gradients(tensors, monkeypatch):
    def found():
        out = real(attend(*tensors, lengths=LENGTHS))
        return [out, *torch.autograd.grad(out.sin().sum(), tensors)]

    together = found()
    monkeypatch.setattr(cpu, "ROW_WORTH_IT", 0)
    for a, b in zip(together, found(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_row_by_row_computes_real_queries_only(tensors, monkeypatch):
    def operations():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            attend(*tensors, lengths=LENGTHS)
        return counter.get_total_flops()

    together = operations()
    monkeypatch.setattr(cpu, "ROW_WORTH_IT", 0)
    assert operations() == together * sum(LENGTHS) / (4 * 40)


def test_the_probabilities_that_maps_collects_are_the_ones_used(tensors):
    maps = []
    mask = torch.rand(4, 1, 40, 60) > 0.3
    out = attend(*tensors, mask, maps=maps)
    torch.testing.assert_close(out, attend(*tensors, mask), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(maps[0] @ tensors[2], out)
    assert not maps[0][~mask.expand(-1, 3, -1, -1)].any()
