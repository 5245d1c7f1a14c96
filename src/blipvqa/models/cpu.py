"""Linear layers at the speed the CPU has.

torch's matrix products go through MKL, which leaves AVX-512 unused on processors that are not Intel's: on two AMD
cores, 190 of 220 GFLOP/s (Zen 4), 230 of 500 (faster ones; `docs/lab-notes.md`). oneDNN, which torch carries too,
uses it. So the large fp32 products of a linear layer, those of its backward pass among them, go there; small ones,
other number formats and other devices go the usual way, and all of them where a build of torch lacks the operator
that `torch.compile` calls for this.
Same products, other order of summation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
WORTH_IT = 2**25  # multiplications; below, what oneDNN takes to prepare for a new shape (0.3 ms) is more than it gains


class Linear(nn.Linear):
    """An `nn.Linear`: same parameters, same numbers to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` → `[..., out]`."""
        if not onednn_takes(x) or x.numel() * self.out_features < WORTH_IT:
            return super().forward(x)
        y = _Product.apply(x.reshape(-1, self.in_features), self.weight, self.bias)
        return y.view(*x.shape[:-1], self.out_features)


def speed_up(model: nn.Module) -> None:
    """Turn `model`'s linear layers into `Linear`, in place; its parameters and their names stay."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


def onednn_takes(x: Tensor) -> bool:
    """Whether `product` can compute with `x`."""
    return (
        AVAILABLE
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a [M,K] @ b.T [K,N] + bias [N]` by oneDNN, in fp32 on a CPU.

    `b` or `b.T` must be contiguous: with any other strides oneDNN is 1,000 times slower.
    """
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x, of_weight, of_bias = ctx.needs_input_grad
        for_x = product(gradient, weight.t()) if of_x else None
        if not of_weight:
            return for_x, None, gradient.sum(0) if of_bias else None
        # Through oneDNN's own layout, which costs a copy of both, and still less than transposing one of them first.
        for_weight, for_bias = torch.ops.aten.mkldnn_linear_backward_weights(
            gradient.to_mkldnn(), x.to_mkldnn(), weight, of_bias
        )
        return for_x, for_weight, for_bias if of_bias else None
