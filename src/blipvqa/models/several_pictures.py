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


def clip_features(projected: Tensor, frames: Tensor) -> Tensor:
    """`[C,D]`, of length 1, of clips: the mean of their frames' projections `[I,D]`, which are not normalized.

    `frames [C,F]` are the frames of each clip among the I, -1 where it has fewer than F. Source: salesforce/BLIP
    eval_retrieval_video.py, whose clips all have as many.
    """
    real = (frames >= 0).unsqueeze(-1)
    total = (projected[frames.clamp(min=0)] * real).sum(1)
    return F.normalize(total / real.sum(1), dim=-1)
