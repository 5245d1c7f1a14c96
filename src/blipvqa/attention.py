"""Attention, one function for all three towers.

Everywhere but in one case this is torch's `scaled_dot_product_attention`. The case: fp32 on a CPU of few cores, no mask,
many tokens, as in the vision tower. There torch's kernel multiplies with MKL, and oneDNN is faster (`products.py`), even
called once a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .products import onednn_takes, product

WORTH_IT = 2**22  # multiplications of a head's scores, per thread; below, the calls take longer than they save


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False,
           dropout: float = 0.0, maps: list | None = None) -> Tensor:  # fmt: skip
    """Attention of `query [B,H,L,d]` to `key, value [B,H,M,d]`; `mask` is boolean, True where it may look.

    With a list in `maps`, the probabilities `[B,H,L,M]` are appended to it and keep their gradient.
    """
    if maps is not None:
        return _mapped(query, key, value, mask, causal, maps)
    if mask is None and not causal and not dropout and onednn_takes(query) and _large(query, key):
        return _HeadByHead.apply(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)


def _large(query: Tensor, key: Tensor) -> bool:
    return query.shape[-2] * key.shape[-2] * key.shape[-1] >= WORTH_IT * torch.get_num_threads()


def _mapped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, maps: list) -> Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    probabilities = scores.softmax(-1)
    if probabilities.requires_grad:
        probabilities.retain_grad()
    maps.append(probabilities)
    return probabilities @ value


class _HeadByHead(torch.autograd.Function):
    """One head's `[L,M]` at a time, which the processor's cache holds; made anew in the backward pass, so never stored."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        out = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)  # heads side by side
        for row, (q, k, v) in enumerate(zip(query, key, value, strict=True)):
            q, k, v = _scaled(q), k.contiguous(), v.contiguous()
            for head in range(len(q)):
                out[row, head] = product(product(q[head], k[head]).softmax(-1), v[head].t())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        of_query, of_key, of_value = (torch.empty_like(x) for x in (query, key, value))
        for row, (q, k, v, g) in enumerate(zip(query, key, value, gradient, strict=True)):
            q, k, v, g = _scaled(q), k.contiguous(), v.contiguous(), g.contiguous()
            for head in range(len(q)):
                p = product(q[head], k[head]).softmax(-1)  # [L, M]
                of_scores = torch._softmax_backward_data(product(g[head], v[head]), p, -1, p.dtype)
                of_query[row, head] = product(of_scores, k[head].t())
                of_key[row, head] = product(q[head].t(), of_scores.t()).t()
                of_value[row, head] = product(g[head].t(), p.t()).t()
        return of_query.mul_(query.shape[-1] ** -0.5), of_key, of_value


def _scaled(query: Tensor) -> Tensor:
    """Contiguous `[H,L,d]` over the root of d, as the scores want it."""
    return query.contiguous() * query.shape[-1] ** -0.5
