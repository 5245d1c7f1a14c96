"""What makes a CPU fast. Skip this on first reading: everything works, slower, without it.

- *Linear layers by oneDNN.* torch's matrix products go through MKL, which leaves AVX-512 unused on processors that are
  not Intel's: on two AMD cores, 190 of 220 GFLOP/s (Zen 4), 230 of 500 (faster ones; `docs/lab-notes.md`). oneDNN,
  which torch carries too, uses it. So the large fp32 products of a linear layer, those of its backward pass among
  them, go there; small ones, other number formats and other devices go the usual way, and large ones too on a processor
  without AVX-512, where oneDNN is the slower one (Zen 3), or all where a build of torch lacks the operator that
  `torch.compile` calls for this. The few rows of a step of writing go there on every processor: MKL takes up to 1.7
  times as long for them. Same products, other order of summation.
- *In bf16*, within `large_products_in_bf16`, on a processor that computes it: the same large products, of numbers
  rounded to bf16 and summed in fp32. All else stays in fp32; rounding for a small product costs more than it saves.
- *Attention row by row.* Where rows hold few real queries, each row is computed at its own length.
- *Memory that is reused*, in large pages, instead of being given back to the system and zeroed anew.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
GAINS = torch.backends.cpu.get_cpu_capability() != "AVX2"
# Multiplications of a linear layer; below, what oneDNN takes to prepare for a new shape (0.3 ms) is more than it gains
WORTH_IT = 2**25 if GAINS else sys.maxsize
STEP_WORTH_IT = 2**21  # of a step of writing, `x [R,1,in]`: the next token's has the same shape, which is then prepared
ROW_WORTH_IT = 2**24  # multiplications of a row of attention; below, a call for each row takes longer than it saves

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
MADV_HUGEPAGE = 14  # of Linux's mman.h


# ---------------------------------------------------------------------------------------- linear layers by oneDNN


class Linear(nn.Linear):
    """An `nn.Linear`: same parameters, same numbers to rounding."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in]` → `[..., out]`."""
        worth_it = STEP_WORTH_IT if x.ndim == 3 and x.shape[1] == 1 else WORTH_IT
        if not onednn_takes(x) or x.numel() * self.out_features < worth_it:
            return super().forward(x)
        of_format = _HalfProduct if _in_bf16 else _Product
        y = of_format.apply(x.reshape(-1, self.in_features), self.weight, self.bias)
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


# ---------------------------------------------------------------------------------------- in bf16

_in_bf16 = False


def computes_bf16() -> bool:
    """Whether the processor multiplies numbers of bf16 itself; where it has to convert them, fp32 is faster."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return GAINS and any(check is not None and check() for check in checks)


@contextmanager
def large_products_in_bf16(wanted: bool = True) -> Iterator[None]:
    """Within, `Linear` computes its large products on a CPU in bf16; or not, whatever stands around."""
    global _in_bf16
    before, _in_bf16 = _in_bf16, wanted
    try:
        yield
    finally:
        _in_bf16 = before


def large_products_are_in_bf16() -> bool:
    return _in_bf16


class _HalfProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x.bfloat16()
        ctx.save_for_backward(x, weight)
        y = F.linear(x, weight.bfloat16()).float()
        return y if bias is None else y.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        half = gradient.bfloat16()
        of_x, of_weight, of_bias = ctx.needs_input_grad
        for_x = (half @ weight.bfloat16()).float() if of_x else None
        for_weight = (half.t() @ x).float() if of_weight else None
        return for_x, for_weight, gradient.sum(0) if of_bias else None


# ---------------------------------------------------------------------------------------- attention row by row


def row_by_row_pays(query: Tensor, key: Tensor, lengths: list[int]) -> bool:
    """Whether `attend_row_by_row` is faster: rows that are large and not full, on a CPU."""
    return (
        query.device.type == "cpu"
        and min(lengths) < query.shape[-2]
        and query[0].numel() * key.shape[-2] >= ROW_WORTH_IT
    )


def attend_row_by_row(query: Tensor, key: Tensor, value: Tensor, dropout: float, lengths: list[int]) -> Tensor:
    """Attention of the first `lengths [B]` queries of each row of `query [B,H,L,d]`; zeros for the others."""
    width = query.shape[-2]
    rows = [
        F.pad(F.scaled_dot_product_attention(q[None, :, :n], k[None], v[None], dropout_p=dropout), (0, 0, 0, width - n))
        for q, k, v, n in zip(query, key, value, lengths, strict=True)
    ]
    return torch.cat(rows)


# ---------------------------------------------------------------------------------------- memory


@cache
def reuse_memory(device: torch.device) -> None:
    """On a CPU with glibc, keep freed memory instead of giving it back; elsewhere nothing is done.

    By default every large tensor is mapped and zeroed anew, page by page, which costs a seventh of a full-size training
    step.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        return
    import ctypes  # here, not above: no system without glibc needs it

    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, -1)  # never
    if not _addresses_are_rationed():
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.argtypes = [ctypes.c_void_p]
        libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        _prefer_large_pages(libc)


def _addresses_are_rationed() -> bool:
    import resource  # Windows has none

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _prefer_large_pages(libc) -> None:
    """Ask for pages of 2 MiB in the part of the heap that tensors will come from.

    A block as large as half of the machine's memory is taken and freed untouched, so that addresses are reserved, and
    no memory.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    size = os.sysconf("SC_PHYS_PAGES") * page // 2
    block = libc.malloc(size)
    if block:
        libc.free(block)
        start = -(-block // page) * page
        # Refused where the system has no such pages; then nothing changes.
        libc.madvise(start, size - 2 * page, MADV_HUGEPAGE)
