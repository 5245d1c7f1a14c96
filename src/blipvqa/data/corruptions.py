"""Pictures as scanners, cameras and networks spoil them, in five strengths.

Notable:
- Applied to the pixels as the model gets them, uint8 `[3,S,S]`, and drawn from (seed, image): every question on a
  picture, and every run, sees the same one.
- Strength 0 is the picture as it is; 5 is what a person would complain of.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor


def _jpeg(image: Image.Image, strength: int, _draw) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=(60, 35, 20, 10, 5)[strength - 1])
    return Image.open(buffer, formats=("JPEG",)).convert("RGB")


def _blur(image: Image.Image, strength: int, _draw) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.004 * strength * image.width))


def _noise(image: Image.Image, strength: int, draw: random.Random) -> Image.Image:
    noise = np.random.default_rng(draw.getrandbits(63)).normal(0, 9 * strength, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def _brightness(image: Image.Image, strength: int, draw: random.Random) -> Image.Image:
    factor = 1 + draw.choice((-1, 1)) * 0.12 * strength
    return image.point(lambda v: v * factor)


def _contrast(image: Image.Image, strength: int, _draw) -> Image.Image:
    grey = float(np.asarray(image.convert("L")).mean())
    return image.point(lambda v: grey + (v - grey) * (1 - 0.16 * strength))


def _stain(image: Image.Image, strength: int, draw: random.Random) -> Image.Image:
    """Each channel's optical density scaled: more or less of a dye (after Tellez et al. 2018, in RGB)."""
    scale = [1 + draw.choice((-1, 1)) * 0.1 * strength * draw.uniform(0.5, 1) for _ in range(3)]
    light = (np.asarray(image).astype(np.float32) + 1) / 256
    return Image.fromarray((light ** np.array(scale, np.float32) * 256 - 1).clip(0, 255).astype(np.uint8))


def _downsample(image: Image.Image, strength: int, _draw) -> Image.Image:
    side = max(4, round(image.width / (1 + 0.6 * strength)))
    return image.resize((side, side), Image.Resampling.BOX).resize(image.size, Image.Resampling.BILINEAR)


def _rotation(image: Image.Image, strength: int, draw: random.Random) -> Image.Image:
    corner = tuple(int(v) for v in np.asarray(image)[:2, :2].mean((0, 1)))
    return image.rotate(draw.choice((-1, 1)) * 3 * strength, Image.Resampling.BICUBIC, fillcolor=corner)


CORRUPTIONS: dict[str, Callable[[Image.Image, int, random.Random], Image.Image]] = {
    "JPEG": _jpeg,
    "blur": _blur,
    "noise": _noise,
    "brightness": _brightness,
    "contrast": _contrast,
    "stain shift": _stain,
    "down-sampling": _downsample,
    "rotation": _rotation,
}


def corrupt(pixels: Tensor, image_id: str, kind: str, strength: int, seed: int = 0) -> Tensor:
    """uint8 `[3,S,S]`, spoilt by `kind` of CORRUPTIONS at `strength` 1 to 5."""
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    spoilt = CORRUPTIONS[kind](image, strength, random.Random(f"{seed}/{kind}/{image_id}"))
    return torch.from_numpy(np.asarray(spoilt).copy()).permute(2, 0, 1).contiguous()
