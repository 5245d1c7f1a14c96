"""Several pictures in one row: their states side by side in one memory, and where each stands among them.

Notable:
- Every picture is encoded once, and its keys and values are projected once, however many rows name it.
- To cross-attention, pictures side by side are a heap of patches: it cannot tell the first from the second. A learnt
  vector for each place (`model.picture_places`) is added to the states of rows with two pictures and more. It begins as
  zero, so that a published model answers as it did.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from blipvqa.models.packing import Packed
from blipvqa.models.towers import Memory


def memory_of(states: Tensor, read: Packed, places: Tensor | None = None) -> Memory:
    """What questions look at that lie as `read` says: at one picture each, or at several.

    `states [I,N,D]` are those of the pictures, `places [MOST_PICTURES,D]` the vectors of the places. Questions about
    the same pictures in the same order share a row of the memory.
    """
    if read.sets is None:
        return Memory(states, read.queries, rows=read.memories)
    sets = read.sets.pictures
    if places is not None:
        states, sets = _with_places(states, read, places), read.sets.of_placed
    return Memory(states, read.queries, sets=sets, whole=read.sets.whole)


def _with_places(states: Tensor, read: Packed, places: Tensor) -> Tensor:
    """The states of each picture at each place where it stands, `[U,N,D]`.

    A picture that stands alone has no place: it is seen as a model without places sees it.
    """
    used, width = read.sets.placed, read.sets.pictures.shape[1]
    added = torch.cat([places[:width], places.new_zeros(1, places.shape[1])])
    return states[used // (width + 1)] + added[used % (width + 1)][:, None].to(states.dtype)


def shown_features(projected: Tensor, shown: Tensor) -> Tensor:
    """`[Q,D]`, of length 1, of what is shown: a picture each by `shown [Q]`, or clips by `[Q,F]`, -1 where one has
    fewer than F frames, among pictures whose projections `[I,D]` are not normalized.

    A clip has the mean of its frames' projections. Source: salesforce/BLIP eval_retrieval_video.py, whose clips all
    have as many frames.
    """
    projected = projected.float()
    if shown.ndim == 1:
        return F.normalize(projected, dim=-1)[shown]
    real = (shown >= 0).unsqueeze(-1)
    total = (projected[shown.clamp(min=0)] * real).sum(1)
    return F.normalize(total / real.sum(1), dim=-1)


def among_all(index: Tensor, first: int, frames: int) -> Tensor:
    """A process's `image_index` among the pictures of all, whose longest clip has so many `frames`."""
    index = torch.where(index < 0, index, index + first)
    if frames == 1:
        return index
    index = index.view(len(index), -1)
    return F.pad(index, (0, frames - index.shape[1]), value=-1)
