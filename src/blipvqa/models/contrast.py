"""Contrast and matching: what BLIP learns from which picture belongs to which text, as functions over tensors.

Notable:
- *ITC* compares features of pictures and texts. Its targets are soft: what slowly following copies of the towers
  (`Momentum`) find alike, mixed with who truly belongs together. A `Queue` of the copies' features stands beside the
  batch, so that few pairs are compared with many.
- *ITM* tells pairs from exchanged ones. It exchanges by how alike two features are (`negative_weights`), so that the
  exchanged ones are hard to tell.
- Texts of one picture never count as exchanged, and neither does a text that is equal to one of them: `image_ids` and
  `text_ids` say which pairs share a picture or a text. The authors look at pictures alone (docs/facts.md 9.9).

Source: salesforce/BLIP models/blip_retrieval.py; Li et al. 2021 (ALBEF); docs/facts.md 9.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blipvqa.models.packing import sent
from blipvqa.models.processes import gathered

EMPTY = -100  # the picture and the text of a place in the queue that nothing was written to
LEAST_WEIGHT = 1e-30  # of a pair that may be drawn
TEMPERATURES = (0.001, 0.5)  # the learnt temperature is kept between them, as the authors do


@dataclass
class Features:
    """Of Q pairs: normalized features `[Q,D]` of their pictures and of their texts."""

    pictures: Tensor
    texts: Tensor

    def of_all(self, rows: list[int]) -> Features:
        """Those of all processes' pairs, without gradients."""
        mine = torch.cat([self.pictures, self.texts], dim=1).detach()
        return Features(*gathered(mine, rows).chunk(2, dim=1))


# ------------------------------------------------------------------------------------------------ ITC


def belong_together(queries: Tensor, queries_of: Tensor, candidates_of: Tensor) -> Tensor:
    """`[Q,P]`, True where candidate p is right for query q: the query stands with an equal candidate in one of P pairs.

    `queries [Q]` are ids of pictures (or texts), `queries_of [P]` and `candidates_of [P]` the ids of the pictures
    (texts) and of the texts (pictures) of the pairs. Where no two pictures have an equal text, these are the pairs of
    the query's own picture.
    """
    same_query = (queries[:, None] == queries_of).float()
    in_order, order = candidates_of.sort(stable=True)
    begins = torch.cat([in_order.new_ones(1), (in_order.diff() != 0).long()])
    # as of `unique`, which a GPU would have to be waited for: how many there are follows from values
    number = torch.empty_like(order).scatter_(0, order, begins.cumsum(0) - 1)
    shared = torch.zeros(len(queries), len(number), device=queries.device).index_add_(1, number, same_query)
    return shared[:, number] > 0


def soft_targets(similarities: Tensor, positive: Tensor, alpha: float) -> Tensor:
    """`[Q,C]`: `alpha` parts of what the momentum towers find alike, the rest shared by the `positive` columns.

    `similarities [Q,C]` are those of the momentum towers, divided by the temperature.
    """
    hard = positive / positive.sum(1, keepdim=True)
    return alpha * similarities.softmax(1) + (1 - alpha) * hard


def contrast_losses(similarities: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy `[Q]` of `similarities [Q,C]`, divided by the temperature, with soft `targets [Q,C]`."""
    return -(similarities.log_softmax(1) * targets).sum(1)


# ------------------------------------------------------------------------------------------------ ITM


def negative_weights(similarities: Tensor, excluded: Tensor, floor: float = 0.0) -> Tensor:
    """How probable each pair of the batch is as the other half of an exchanged one: `[Q,B]`, 0 where `excluded`.

    `similarities [Q,B]` are divided by the temperature; `floor` is added to each share (pre-training: 1e-4).
    """
    # the least of weights: where one excluded pair has all the probability, the others must not be as excluded as it
    return (similarities.softmax(1) + floor).clamp_min(LEAST_WEIGHT).masked_fill(excluded, 0.0)


def draw_negatives(weights: Tensor, noise: Tensor | None = None) -> Tensor:
    """One column `[Q]` for each row of `weights [Q,B]`, as probable as its weight says.

    `noise [Q,B]` is drawn from an exponential distribution (the smallest of w / noise wins as often as w says); None
    takes the most probable. A row without any weight gets column 0: who calls must know that it has no negative.
    """
    return (weights if noise is None else weights / noise).argmax(1)


def exponential_noise(shape: tuple[int, ...], seed: int | None, device: torch.device) -> Tensor | None:
    """For `draw_negatives`: the same for the same seed on every device and in every process; None without a seed."""
    if seed is None:
        return None
    noise = torch.empty(shape).exponential_(generator=torch.Generator().manual_seed(seed))
    return sent(noise.clamp_min_(torch.finfo(noise.dtype).tiny), device)


def draw_both_ways(
    similarities: Sequence[Tensor], excluded: Sequence[Tensor], own: slice, seed: int | None, floor: float = 0.0
) -> tuple[Tensor, Tensor]:
    """A wrong picture for each text and a wrong text for each picture: columns `[Q]` of `similarities [Q,B]`.

    Their rows are those at `own` of all B; None as `seed` takes the most probable ones.
    """
    size, device = similarities[0].shape[1], similarities[0].device
    noise = exponential_noise((2, size, size), seed, device)
    picture_of, text_of = (
        draw_negatives(negative_weights(way, out, floor), None if noise is None else noise[k, own])
        for k, (way, out) in enumerate(zip(similarities, excluded, strict=True))
    )
    return picture_of, text_of


# ------------------------------------------------------------------------------------------------ memory of training


class Momentum:
    """Copies of modules that follow them slowly. They are no part of the model: not trained, exported or counted."""

    def __init__(self, modules: Mapping[str, nn.Module]):
        self.modules = dict(modules)
        self.copies = {name: copy.deepcopy(each).eval().requires_grad_(False) for name, each in modules.items()}

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """m ← momentum · m + (1 - momentum) · p, over the weights that are trained; frozen ones are equal already."""
        pairs = self._pairs().values()
        if pairs:
            copies, online = zip(*pairs, strict=True)
            torch._foreach_lerp_(list(copies), list(online), 1 - momentum)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must keep, by name."""
        return {name: copied for name, (copied, _) in self._pairs().items()}

    def _pairs(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {
            f"{name}.{parameter}": (copied, online)
            for name, module in self.modules.items()
            for (parameter, online), copied in zip(
                module.named_parameters(), self.copies[name].parameters(), strict=True
            )
            if online.requires_grad
        }


class Queue:
    """The momentum features of the last pairs, `pictures` and `texts` `[K,D]`, and the `ids [K,2]` of both.

    It begins with random unit vectors, which belong to no picture, as the authors' does. Any batch fits: the queue is
    a ring, and of a batch that is larger than it the last pairs stay.
    """

    def __init__(self, size: int, width: int, seed: int, device: torch.device):
        draw = torch.Generator().manual_seed(seed)
        self.pictures, self.texts = (
            F.normalize(torch.randn(size, width, generator=draw), dim=1).to(device) for _ in range(2)
        )
        self.ids = torch.full((size, 2), EMPTY, device=device)
        self.next = torch.zeros((), dtype=torch.long, device=device)  # where the next pair is written

    @torch.no_grad()
    def add(self, pictures: Tensor, texts: Tensor, ids: Tensor) -> None:
        """Write pairs, features `[B,D]` and ids `[B,2]`, over the oldest ones.

        A pair whose features overflowed (half precision) is written as an empty place: it would make every later
        loss no number.
        """
        size = len(self.ids)
        places = (self.next + torch.arange(len(ids), device=self.next.device)) % size
        self.next.copy_((self.next + len(ids)) % size)
        places, pictures, texts, ids = (x[-size:] for x in (places, pictures, texts, ids))
        finite = pictures.isfinite().all(1) & texts.isfinite().all(1)
        for queue, new in ((self.pictures, pictures), (self.texts, texts)):
            queue[places] = torch.where(finite[:, None], new.to(queue.dtype), queue[places])
        self.ids[places] = ids.masked_fill(~finite[:, None], EMPTY)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must keep, by name."""
        return {"pictures": self.pictures, "texts": self.texts, "ids": self.ids, "next": self.next}


@dataclass
class Contrast:
    """What training keeps beside the weights: towers that follow them, and the features of the last pairs."""

    towers: Momentum
    queue: Queue
    momentum: float
    alpha: float  # the momentum towers' part of the targets, once it has grown

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must keep, by name."""
        parts = {"momentum": self.towers.tensors(), "queue": self.queue.tensors()}
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
