"""How BLIP's three towers are wired, over the modules and weights of `transformers`.

Notable:
- Attention is `attend` everywhere; `maps` asks for its probabilities.
- Tokens travel *packed*: `[T, D]`, the T real tokens of a batch without padding, so no linear layer works on
  padding. Attention alone needs a grid, and `Grid` says where each token stands in it.
- Shared memory: several sequences that look at one image (or several candidate answers at one question) put their
  queries into one row of the grid, so keys and values are projected, and read, once for all of them.
- Every mask is ours and reaches every attention; transformers drops the question's mask (docs/facts.md 1.4).

Reference: salesforce/BLIP `models/med.py` and `models/vit.py`; `tests/models/test_vqa_model.py` compares the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from blipvqa.models.attention import attend


class Grid:
    """Where T packed tokens stand in a grid of `rows` × `width` places.

    Of each row the first `lengths` places are taken; `index [T]` counts places row by row.
    """

    def __init__(self, row: Tensor, column: Tensor, lengths: list[int]):
        self.row, self.column, self.lengths = row, column, lengths
        self.rows, self.width = len(lengths), max(lengths)
        self.index = row * self.width + column  # [T]
        self.full = len(self.index) == self.rows * self.width and bool((self.index.diff() == 1).all())

    @classmethod
    def of_mask(cls, mask: Tensor) -> Grid:
        """The real tokens of `mask [S,L]`; padding, on either side, is squeezed out."""
        mask = mask.bool()
        row, _ = mask.nonzero(as_tuple=True)  # [T]
        return cls(row, (mask.cumsum(1) - 1)[mask], mask.sum(1).tolist())

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


def recompute_activations(model: nn.Module) -> None:
    """Have every tower recompute its activations in the backward pass; transformers' switch has a name per version."""
    for module in model.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = True


def checkpointed(enabled: bool, function: Callable, *arguments):
    """`function(*arguments)`, its activations recomputed in the backward pass when `enabled`."""
    return checkpoint(function, *arguments, use_reentrant=False) if enabled else function(*arguments)


# ---------------------------------------------------------------------------------------------- vision tower


IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of every published BLIP (preprocessor_config.json)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
PICTURES_AT_ONCE = 16  # encoded for their features alone


def normalized(pixels: Tensor) -> Tensor:
    """uint8 pixels `[I,3,H,W]` scaled as BLIP wants them; floats are scaled already."""
    if pixels.dtype != torch.uint8:
        return pixels
    mean, std = (torch.tensor(c, device=pixels.device).view(3, 1, 1) for c in (IMAGE_MEAN, IMAGE_STD))
    return (pixels.float() / 255 - mean) / std


def image_states(vision, pixels: Tensor, maps: list | None = None) -> Tensor:
    """`pixels [I,3,H,W]`, normalized → `[I, 1 + patches, D]`, through a `BlipVisionModel`'s modules.

    A picture of another size than the config's gets an interpolated position table (docs/facts.md 1.5).
    """
    embeddings = vision.embeddings
    patches = embeddings.patch_embedding(pixels.to(embeddings.patch_embedding.weight.dtype)).flatten(2).transpose(1, 2)
    first = embeddings.class_embedding.expand(len(patches), 1, -1).to(patches.dtype)
    x = torch.cat([first, patches], dim=1)
    x = x + embeddings.interpolate_pos_encoding(x, *pixels.shape[-2:]).to(x.dtype)
    recompute = vision.encoder.gradient_checkpointing and vision.training
    for layer in vision.encoder.layers:
        x = checkpointed(recompute, _vision_layer, layer, x, maps)
    return vision.post_layernorm(x)


def _vision_layer(layer, x: Tensor, maps: list | None) -> Tensor:
    attention = layer.self_attn
    qkv = attention.qkv(layer.layer_norm1(x)).view(*x.shape[:2], 3, attention.num_heads, attention.head_dim)
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))  # [I, H, N, d]
    dropout = attention.dropout.p if layer.training else 0.0
    y = attend(query, key, value, dropout=dropout, maps=maps)
    x = x + attention.projection(y.transpose(1, 2).flatten(2))
    return x + layer.mlp(layer.layer_norm2(x))


@torch.no_grad()
def picture_features(model, pixels: Iterable[Tensor]) -> np.ndarray:
    """Features `[N,D]` of pictures uint8 `[3,S,S]`: the mean of their patches, as a model's vision tower sees them."""
    pixels, parts = iter(pixels), []
    while batch := list(islice(pixels, PICTURES_AT_ONCE)):
        states = image_states(model.vision_model, normalized(torch.stack(batch).to(model.device)))
        parts.append(states[:, 1:].mean(1).float().cpu().numpy())
    return np.concatenate(parts)


# ------------------------------------------------------------------------------------------------ text towers


class Memory:
    """What a text tower's cross-attention looks at: `states` packed or `[M, N, D]`, one row a memory.

    `queries` says in which row of the memory each of the tower's tokens looks, `mask [M,1,1,N]` (or None: all) and
    `spread` how the projected states become `[M, H, N, d]`; with `rows [R]`, `[R, H, N, d]`: the states that each row
    of `queries` looks at; with `sets [R,P]`, `[R, H, P·N, d]`: each row looks at P of the states, -1 for none.
    """

    def __init__(
        self,
        states: Tensor,
        queries: Grid,
        grid: Grid | None = None,
        rows: Tensor | None = None,
        sets: Tensor | None = None,
    ):
        self.states, self.queries, self.grid = states, queries, grid
        self.rows = rows if sets is None else sets.clamp(min=0)
        self.mask = None if grid is None or grid.full else grid.mask
        if sets is not None and (sets < 0).any():
            self.mask = (sets >= 0).repeat_interleave(states.shape[1], dim=1)[:, None, None]

    def spread(self, x: Tensor, heads: int) -> Tensor:
        if self.grid is not None:
            return self.grid.spread(x, heads)
        if self.rows is not None:
            x = x.index_select(0, self.rows.flatten()).view(*self.rows.shape, *x.shape[1:]).flatten(1, -2)
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def embed_tokens(embeddings, ids: Tensor, positions: Tensor) -> Tensor:
    """Word + position embeddings, normalized: `ids`, `positions` `[T]` → `[T, D]`."""
    x = embeddings.word_embeddings(ids) + embeddings.position_embeddings(positions)
    return embeddings.dropout(embeddings.LayerNorm(x))


Memories = Memory | Sequence[Memory] | None


def text_states(
    bert, ids: Tensor, grid: Grid, memory: Memories = None, causal: bool = False, maps: list | None = None
) -> Tensor:
    """A text tower (`BlipTextModel`) over packed tokens `ids [T]` → their last states `[T, D]`.

    Without a memory it reads the text alone: its cross-attention is left out. With two of them each layer has two
    cross-attentions (`pairs`), and `maps` collects the looks of both, one after the other.
    Causal towers (the answer decoder) need no padding mask: padding stands after every real token.
    """
    x = embed_tokens(bert.embeddings, ids, grid.column)
    own_mask = None if causal or grid.full else grid.mask
    recompute = bert.encoder.gradient_checkpointing and bert.training
    for layer in bert.encoder.layer:
        x = checkpointed(recompute, _text_layer, layer, x, grid, own_mask, memory, causal, maps)
    return x


def _text_layer(
    layer, x: Tensor, grid: Grid, own_mask: Tensor | None, memory: Memories, causal: bool, maps: list | None
) -> Tensor:
    attention = layer.attention.self
    heads, dropout = attention.num_attention_heads, attention.dropout.p if layer.training else 0.0
    query, key, value = (grid.spread(part(x), heads) for part in (attention.query, attention.key, attention.value))
    y = grid.collect(attend(query, key, value, own_mask, causal, dropout))
    x = layer.attention.output(y, x)
    if memory is None:
        return layer.feed_forward_chunk(x)

    cross = layer.crossattention
    if isinstance(memory, Memory):
        looks = [_look(cross.self, x, memory, maps)]
    else:
        looks = [_look(*both, maps) for both in zip((cross.self0, cross.self1), (x, x), memory, strict=True)]
    x = cross.output(*looks, x)
    return layer.feed_forward_chunk(x)


def _look(cross, x: Tensor, memory: Memory, maps: list | None) -> Tensor:
    heads, dropout = cross.num_attention_heads, cross.dropout.p if cross.training else 0.0
    query = memory.queries.spread(cross.query(x), heads)  # [M, H, tokens a row, d]
    key, value = (memory.spread(part(memory.states), heads) for part in (cross.key, cross.value))
    y = attend(query, key, value, memory.mask, False, dropout, maps, memory.queries.lengths)
    return memory.queries.collect(y)
