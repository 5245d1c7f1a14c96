"""Several pictures in one row: their states side by side in one memory, and where each stands among them.

Notable:
- Every picture is encoded once, and its keys and values are projected once, however many rows name it.
- To cross-attention, pictures side by side are a heap of patches: it cannot tell the first from the second. A learnt
  vector for each place (`model.picture_places`) is added to the states of rows with two pictures and more. It begins as
  zero, so that a published model answers as it did.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blipvqa.models.towers import Grid, Memory

MOST_PICTURES = 64  # of a row


def memory_of_several(states: Tensor, grid: Grid, index: Tensor, places: Tensor | None = None) -> Memory:
    """What the questions of `grid` look at: question q at the pictures `index[q]`, of `index [Q,P]`, -1 for none.

    `states [I,N,D]` are those of the pictures, `places [MOST_PICTURES,D]` the vectors of the places. Questions about
    the same pictures in the same order share a row of the memory.
    """
    sets, row = index.unique(dim=0, return_inverse=True)  # [M,P], [Q]
    if places is not None:
        states, sets = _with_places(states, sets, places)
    return Memory(states, grid.regrouped(row, len(sets)), sets=sets)


def _with_places(states: Tensor, sets: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The states of each picture at each place where it stands, `[U,N,D]`, and which of them the rows hold `[M,P]`.

    A picture that stands alone has no place: it is seen as a model without places sees it.
    """
    width, real = sets.shape[1], sets >= 0
    place = torch.arange(width, device=sets.device).expand_as(sets)
    place = place.masked_fill(real.sum(1, keepdim=True) == 1, width)
    used, number = (sets * (width + 1) + place)[real].unique(return_inverse=True)
    added = torch.cat([places[:width], places.new_zeros(1, places.shape[1])])
    placed = states[used // (width + 1)] + added[used % (width + 1)][:, None].to(states.dtype)
    return placed, torch.full_like(sets, -1).masked_scatter(real, number)
