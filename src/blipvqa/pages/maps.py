"""A map of a picture's patches, drawn over the picture: warm is where."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor


def spread_over(patches: Tensor, width: int, height: int) -> Tensor:
    """The map `[g, g]`, from 0 to 1, interpolated to `[height, width]`."""
    return F.interpolate(patches[None, None], (height, width), mode="bicubic", align_corners=False)[0, 0].clamp(0, 1)


def beside_its_map(image: Image.Image, patches: Tensor, side: int = 260) -> Image.Image:
    """The picture as it is, at most `side` pixels, and beside it in grey with the map over it in colour."""
    image = image.copy()
    image.thumbnail((side, side))
    both = Image.new("RGB", (2 * image.width, image.height))
    both.paste(image)
    both.paste(_warmed(image, patches), (image.width, 0))
    return both


def _warmed(image: Image.Image, patches: Tensor) -> Image.Image:
    from matplotlib import colormaps  # here, not above: a second, for whoever draws nothing

    heat = spread_over(patches, *image.size).numpy()
    colours = colormaps["inferno"](heat)[..., :3] * 255
    grey = np.asarray(image.convert("L"), np.float32)[..., None]
    share = 0.25 + 0.55 * heat[..., None]
    return Image.fromarray((grey * (1 - share) + colours * share).astype(np.uint8))
