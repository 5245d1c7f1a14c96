"""Texts without padding: which of a batch's places hold tokens, and where each of them stands.

Notable:
- All of this follows from masks. It is computed on the CPU, by the collators in the loader's processes, and travels
  with the batch: a size that a GPU has to be asked for makes the CPU stand still until all before it is computed.
- Who calls a model with masks alone gets the same: they are read, laid out here, and sent.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor


def sent(x, device: torch.device):
    """A tensor, or what of this file is made of them, on `device` without a wait for it.

    From memory that is not pinned a GPU would copy only when all that was asked of it before is computed.
    """
    there = isinstance(x, Tensor) and x.device.type != "cpu"
    return (x.pin_memory() if device.type == "cuda" and not there else x).to(device, non_blocking=True)


class Grid:
    """Where T packed tokens stand in a grid of `rows` × `width` places.

    Of each row the first `lengths` places are taken; `index [T]` counts places row by row.
    """

    def __init__(self, row: Tensor, column: Tensor, lengths: list[int]):
        self.lengths, self.rows, self.width = lengths, len(lengths), max(lengths)
        index = row * self.width + column
        self.full = len(index) == self.rows * self.width and bool((index.diff() == 1).all())
        self._stand_at(torch.stack([row, column, index]))

    def _stand_at(self, places: Tensor) -> None:
        self.places = places  # [3, T], one tensor: so they travel together
        self.row, self.column, self.index = places.unbind()

    @classmethod
    def of_mask(cls, mask: Tensor) -> Grid:
        """The real tokens of `mask [S,L]`; padding, on either side, is squeezed out."""
        mask = mask.bool()
        row, _ = mask.nonzero(as_tuple=True)  # [T]
        return cls(row, (mask.cumsum(1) - 1)[mask], mask.sum(1).tolist())

    def __getstate__(self) -> dict:  # between processes one tensor, not four that share its memory
        return {name: value for name, value in vars(self).items() if name not in ("row", "column", "index")}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._stand_at(self.places)

    def to(self, *where, **how) -> Grid:
        """The same elsewhere."""
        return self._with(self.places.to(*where, **how))

    def pin_memory(self) -> Grid:
        """The same in memory that a GPU copies from by itself."""
        return self._with(self.places.pin_memory())

    def _with(self, places: Tensor) -> Grid:
        other = copy.copy(self)
        other._stand_at(places)
        return other

    def regrouped(self, group: Tensor, groups: int) -> Grid:
        """The same tokens, with all sequences of one `group [S]` side by side in one row."""
        row = group[self.row]
        order = row.argsort(stable=True)
        counts = torch.bincount(row, minlength=groups)
        starts = counts.cumsum(0) - counts
        column = torch.empty_like(row)
        column[order] = torch.arange(len(row), device=row.device) - starts[row[order]]
        return Grid(row, column, counts.tolist())

    def in_even_rows(self, group: Tensor, groups: int) -> tuple[Grid, Tensor]:
        """As `regrouped`, but a group of far more tokens than the others gets several rows; and each row's group.

        Else all rows would be as wide as the widest, and most of the attention computed for no token.
        """
        lengths = torch.tensor(self.lengths, device=group.device)
        order = group.argsort(stable=True)
        ends = lengths[order].cumsum(0)
        starts = torch.empty_like(ends)
        starts[order] = ends - lengths[order]  # of each sequence, among all of them group by group
        tokens = torch.zeros(groups, dtype=torch.long, device=group.device).index_add_(0, group, lengths)
        within = starts - (tokens.cumsum(0) - tokens)[group]
        capacity = -(-len(self.row) // int((tokens > 0).sum()))  # tokens of a group on average
        part, parts = within // capacity, len(self.row) // capacity + 1
        rows, row = (group * parts + part).unique(return_inverse=True)
        return self.regrouped(row, len(rows)), rows // parts

    @property
    def mask(self) -> Tensor:
        """`[rows, 1, 1, width]`, True where a token stands: a key mask."""
        mask = torch.zeros(self.rows * self.width, dtype=torch.bool, device=self.index.device)
        mask[self.index] = True
        return mask.view(self.rows, 1, 1, self.width)

    def spread(self, x: Tensor, heads: int) -> Tensor:
        """`[T, H·d]` packed → `[rows, H, width, d]`, zeros where no token stands."""
        if not self.full:
            x = x.new_zeros(self.rows * self.width, x.shape[-1]).index_copy(0, self.index, x)
        return x.view(self.rows, self.width, heads, -1).transpose(1, 2)

    def collect(self, x: Tensor) -> Tensor:
        """`[rows, H, width, d]` → `[T, H·d]`, the inverse of `spread`."""
        x = x.transpose(1, 2).reshape(self.rows * self.width, -1)
        return x if self.full else x[self.index]


class Together:
    """A dataclass whose tensors go to a device together."""

    def to(self, *where, **how):
        return self._each(lambda part: part.to(*where, **how))

    def pin_memory(self):
        return self._each(lambda part: part.pin_memory())

    def _each(self, moved):
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: moved(part) for name, part in parts.items() if isinstance(part, Tensor | Grid | Together)}
        )


@dataclass
class Side(Together):
    """The pictures that one side of statements about pairs looks at: U distinct ones."""

    pictures: Tensor  # [U]
    queries: Grid  # a row a picture, the statements that look at it side by side

    @classmethod
    def of(cls, index: Tensor, grid: Grid) -> Side:
        """Of the pictures `index [Q]` of the statements that lie as `grid` says, on the CPU."""
        pictures, place = index.cpu().unique(return_inverse=True)
        return cls(pictures, grid.regrouped(place, len(pictures)))


@dataclass
class Sets(Together):
    """Which pictures the texts look at, where some look at several: M different sets of at most P, -1 for none."""

    pictures: Tensor  # [M,P]
    whole: bool  # whether every set has P
    placed: Tensor  # [U], each picture at each place where it stands: picture · (P + 1) + place, P where it is alone
    of_placed: Tensor  # [M,P], the sets in these

    @classmethod
    def of(cls, index: Tensor) -> tuple[Sets, Tensor]:
        """Of `index [S,P]` on the CPU; and the set of each text `[S]`."""
        pictures, row = index.unique(dim=0, return_inverse=True)
        width, real = pictures.shape[1], pictures >= 0
        place = torch.arange(width).expand_as(pictures)
        place = place.masked_fill(real.sum(1, keepdim=True) == 1, width)
        placed, number = (pictures * (width + 1) + place)[real].unique(return_inverse=True)
        of_placed = torch.full_like(pictures, -1).masked_scatter(real, number)
        return cls(pictures, bool(real.all()), placed, of_placed), row


@dataclass
class Packed(Together):
    """The T tokens of S padded texts `[S,L]`."""

    place: Tensor  # [T], among the S·L places
    first: Tensor  # [S], which of the T begins each text
    grid: Grid  # a row a text
    queries: Grid | None = None  # a row a memory that they look at, all of its texts side by side
    memories: Tensor | None = None  # [rows of `queries`], which memory each looks at; None: one row each
    sets: Sets | None = None  # the memories, where they are of several pictures

    @classmethod
    def of(cls, real: Tensor, group: Tensor | None = None, groups: int = 0, even: bool = False) -> Packed:
        """Of the mask `real [S,L]`; `group [S]` says which of `groups` memories each text looks at, `[S,P]` which ones.

        `even`: a memory of many texts gets several rows.
        """
        real, memories, queries, sets = real.bool().cpu(), None, None, None
        grid = Grid.of_mask(real)
        if group is not None and group.ndim == 2:
            sets, row = Sets.of(group.cpu())
            queries = grid.regrouped(row, len(sets.pictures))
        elif group is not None and even:
            queries, memories = grid.in_even_rows(group.cpu(), groups)
        elif group is not None:
            queries = grid.regrouped(group.cpu(), groups)
        (place,), (first,) = real.flatten().nonzero(as_tuple=True), (grid.column == 0).nonzero(as_tuple=True)
        return cls(place, first, grid, queries, memories, sets)

    def tokens(self, ids: Tensor) -> Tensor:
        """Of padded `ids [S,L]` the T that are none of padding."""
        return ids.flatten().index_select(0, self.place)


@dataclass
class Written(Together):
    """Texts of which each token is predicted from those before: the last one of a text is no input, and the k-th input
    predicts the k-th target.

    K predictions count: by default all, else those of tokens that are marked; the rest is context, as a prompt is.
    """

    inputs: Packed
    targets: Tensor  # [K], among the places of the padded texts
    row: Tensor  # [K], whose they are
    scored: Tensor | None = None  # [K], among the inputs; None: all of them

    @classmethod
    def of(cls, real: Tensor, group: Tensor, groups: int, scored: Tensor | None = None) -> Written:
        """Of the mask `real [A,L]`; `group` and `groups` as `Packed.of` takes them, `scored [A,L]` marks tokens."""
        real = real.bool().cpu()
        number = real.cumsum(1)  # 1 for a text's first token
        inputs = Packed.of(real & (number < number[:, -1:]), group, groups)
        (targets,), row = (real & (number > 1)).flatten().nonzero(as_tuple=True), inputs.grid.row
        if scored is None:
            return cls(inputs, targets, row)
        (counts,) = scored.cpu().flatten()[targets].nonzero(as_tuple=True)
        return cls(inputs, targets[counts], row[counts], counts)


@dataclass
class Layout(Together):
    """How the texts of a batch lie: those that are read, and those that are written.

    What is an array stays on the CPU: for who lays the texts out anew, as retrieval does for exchanged pairs.
    """

    read: Packed | None = None
    written: Written | None = None
    mask: np.ndarray | None = None  # [Q,L] of the texts that are read
    image_index: np.ndarray | None = None  # [Q], or [Q,F] of clips
    first: Side | None = None  # of pairs of pictures
    second: Side | None = None
