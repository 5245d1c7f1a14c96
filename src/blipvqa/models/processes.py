"""Values of all processes that train together, for a loss that compares each row with the whole batch.

Notable:
- Every process gets the same rows in the same order, whatever the number of rows each brings.
- `gathered` keeps gradients: what one process computes with another's row moves the weights as if it were its own.
- With one process everything comes back as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, distributed


def number_of_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def own_rows(counts: list[int]) -> slice:
    """Where this process's rows stand among the gathered ones, `counts` a process."""
    rank = distributed.get_rank() if len(counts) > 1 else 0
    return slice(sum(counts[:rank]), sum(counts[: rank + 1]))


def sizes_of_all(*sizes: int, device: torch.device) -> list[list[int]]:
    """Each of `sizes` as every process has it: a list of so many numbers as there are processes, for each."""
    if number_of_processes() == 1:
        return [[size] for size in sizes]
    mine = torch.tensor(sizes, device=device)
    everyone = [torch.empty_like(mine) for _ in range(number_of_processes())]
    distributed.all_gather(everyone, mine)
    return torch.stack(everyone).T.tolist()


def gathered(x: Tensor, counts: list[int]) -> Tensor:
    """`x [N, …]` of every process, one after the other, `counts` rows each; the other sizes must agree."""
    return x if len(counts) == 1 else _Gathered.apply(x, counts)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        longest = max(counts)
        padded = F.pad(x, (0, 0) * (x.ndim - 1) + (0, longest - len(x))).contiguous()
        everyone = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(everyone, padded)
        return torch.cat([rows[:count] for rows, count in zip(everyone, counts, strict=True)])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total[own_rows(ctx.counts)], None
