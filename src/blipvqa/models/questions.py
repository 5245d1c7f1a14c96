"""Questions that are encoded: what answers are written and ranked from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blipvqa.models.packing import Grid, sent


@dataclass
class Questions:
    """Encoded questions: packed `states [T,D]` and the `grid` of Q rows they stand in."""

    states: Tensor
    grid: Grid

    def padded(self) -> tuple[Tensor, Tensor]:
        """`[Q, Lq, D]` and the mask `[Q, Lq]`, as generation wants them."""
        return self.grid.spread(self.states, 1).squeeze(1), self.grid.mask[:, 0, 0]

    def chosen(self, rows: list[int]) -> Questions:
        """These rows only, in rising order."""
        lengths = torch.tensor(self.grid.lengths)
        mask = torch.arange(self.grid.width) < lengths[:, None]  # as they stand in the grid, [Q, Lq]
        is_chosen = torch.zeros_like(mask)
        is_chosen[rows] = mask[rows]
        (tokens,) = is_chosen[mask].nonzero(as_tuple=True)
        tokens, grid = (sent(x, self.states.device) for x in (tokens, Grid.of_mask(mask[sorted(rows)])))
        return Questions(self.states.index_select(0, tokens), grid)
