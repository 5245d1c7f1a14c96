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
from functools import cache
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from blipvqa.models.attention import attend
from blipvqa.models.packing import Grid


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
    mean, std = _scale(pixels.device)
    return (pixels.float() / 255 - mean) / std


@cache  # sent once: a GPU would be waited for at every batch
@torch.inference_mode(False)  # who encodes within it first must not keep others from training
def _scale(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(c, device=device).view(3, 1, 1) for c in (IMAGE_MEAN, IMAGE_STD))
    return mean, std


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
    """Features `[N,D]` of pictures uint8 `[3,S,S]`: the mean of their patches, as a model's vision tower sees them.

    What the model keeps (`pictures.KeptStates`) is used; nothing is added to it.
    """
    pixels, parts = iter(pixels), []
    while batch := list(islice(pixels, PICTURES_AT_ONCE)):
        states = model.picture_states(torch.stack(batch).to(model.device), once=True)
        parts.append(states[:, 1:].mean(1).float().cpu().numpy())
    return np.concatenate(parts)


# ------------------------------------------------------------------------------------------------ text towers


class Memory:
    """What a text tower's cross-attention looks at: `states` packed or `[M, N, D]`, one row a memory.

    `queries` says in which row of the memory each of the tower's tokens looks, `mask [M,1,1,N]` (or None: all) and
    `spread` how the projected states become `[M, H, N, d]`; with `rows [R]`, `[R, H, N, d]`: the states that each row
    of `queries` looks at; with `sets [R,P]`, `[R, H, P·N, d]`: each row looks at P of the states, -1 for none, which is
    nowhere where they are `whole`.
    """

    def __init__(
        self,
        states: Tensor,
        queries: Grid,
        grid: Grid | None = None,
        rows: Tensor | None = None,
        sets: Tensor | None = None,
        whole: bool = True,
    ):
        self.states, self.queries, self.grid = states, queries, grid
        self.rows = rows if sets is None else sets.clamp(min=0)
        self.mask = None if grid is None or grid.full else grid.mask
        if not whole:
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
