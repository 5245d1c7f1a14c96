"""Light augmentation of training pictures, the same for a picture within an epoch."""

from __future__ import annotations

import random

import torch
from torch import Tensor


class LightAugment:
    """Crop (80–100 % of the side) and brightness, contrast and saturation (±15 %), drawn from (seed, epoch, image).

    No flips: left and right are findings. No hue: the stain is one.
    """

    def __init__(self, seed: int, epoch: int):
        self.seed, self.epoch = seed, epoch

    def __call__(self, pixels: Tensor, image_id: str) -> Tensor:
        """uint8 `[3,S,S]` → uint8 `[3,S,S]`."""
        draw = random.Random(f"{self.seed}/{self.epoch}/{image_id}")
        side = pixels.shape[-1]
        crop = round(side * draw.uniform(0.8, 1.0))
        top, left = draw.randint(0, side - crop), draw.randint(0, side - crop)
        x = pixels[None, :, top : top + crop, left : left + crop].float()
        x = torch.nn.functional.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)[0]
        grey = x.mean(0, keepdim=True)
        x = grey + (x - grey) * draw.uniform(0.85, 1.15)
        x = x.mean() + (x - x.mean()) * draw.uniform(0.85, 1.15)
        return (x * draw.uniform(0.85, 1.15)).round().clamp(0, 255).to(torch.uint8)
