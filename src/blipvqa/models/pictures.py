"""Pictures to states: what every BLIP here does first, and need not do twice where no training changes it.

Notable:
- The states of a frozen vision tower are kept on the disk, found by a digest of a picture's pixels. Each picture is
  encoded by itself, so that its states do not depend on its batch, and a run that goes on computes the same ones.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from blipvqa.models.towers import image_states, normalized

SHARD = 64  # pictures a file


class SeesPictures:
    """The vision tower's part of a BLIP model, whose `vision_model` it uses."""

    encode_pixels = staticmethod(image_states)  # until `compile_vision`
    kept: KeptStates | None = None  # until `keep_states`

    def picture_states(self, pixel_values: Tensor, maps: list | None = None) -> Tensor:
        """States `[I,N,D]` of pictures `[I,3,H,W]`, uint8 or normalized floats.

        `maps` collects each vision layer's attention to itself `[I,heads,N,N]`.
        """
        if maps is not None:
            return image_states(self.vision_model, normalized(pixel_values), maps)
        if self.kept is not None:
            return self.kept.of(pixel_values, lambda one: self.encode_pixels(self.vision_model, normalized(one)))
        return self.encode_pixels(self.vision_model, normalized(pixel_values))

    def compile_vision(self) -> None:
        """Compile the vision tower, most of the arithmetic; packed text of ever new lengths stays eager."""
        self.encode_pixels = torch.compile(image_states, dynamic=True)

    def sees_the_same(self) -> bool:
        """Whether a picture's states stay what they are: nothing in the vision tower is trained or drawn."""
        trained = any(parameter.requires_grad for parameter in self.vision_model.parameters())
        return not trained and self.config.vision_config.attention_dropout == 0

    def keep_states(self, folder: Path, limit: int) -> None:
        """From now on keep up to `limit` bytes of states in files without a name on the disk of `folder`."""
        self.kept = KeptStates(folder, limit)


class KeptStates:
    """States of pictures, memory-mapped from files that vanish with the process."""

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit
        self.places: dict[bytes, int] = {}  # of a picture, by its digest
        self.shards: list[Tensor] = []  # [SHARD,N,D] each
        self.bytes = 0
        self.note = ""  # why no more are kept

    @torch.no_grad()
    def of(self, pixels: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """`encode(pixels) [I,N,D]`, computed for the pictures `[I,3,H,W]` that are not here yet."""
        device = pixels.device
        half = str(torch.get_autocast_dtype(device.type)) if torch.is_autocast_enabled(device.type) else ""
        parts = []
        for one in pixels.cpu():
            key = hashlib.blake2b(one.numpy().tobytes(), digest_size=16, key=half.encode()).digest()
            if key in self.places:
                shard, place = divmod(self.places[key], SHARD)
                parts.append(self.shards[shard][place].to(device))
            else:
                parts.append(encode(one[None].to(device))[0])
                self._keep(key, parts[-1])
        return torch.stack(parts)

    def __str__(self) -> str:
        kept = f"states of {len(self.places):,} pictures are kept, {self.bytes / 1e9:.1f} GB on the disk"
        return f"{kept}; {self.note}, so the others are encoded every time" if self.note else kept

    def __deepcopy__(self, memo: dict) -> KeptStates:
        return self  # a copy of the model sees the same

    def _keep(self, key: bytes, states: Tensor) -> None:
        shard, place = divmod(len(self.places), SHARD)
        if shard == len(self.shards) and not self._grow(states):
            return
        self.shards[shard][place].copy_(states)
        self.places[key] = len(self.places)

    def _grow(self, states: Tensor) -> bool:
        """One more file; False where the limit is reached or the disk is full."""
        size = SHARD * states.numel() * states.element_size()
        if self.note or self.bytes + size > self.limit:
            self.note = self.note or "data.cache_gigabytes is reached"
            return False
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                _allocate(file.fileno(), size)
                flat = torch.frombuffer(mmap.mmap(file.fileno(), size), dtype=states.dtype)
        except OSError as error:
            self.note = error.strerror or str(error)
            return False
        self.shards.append(flat.view(SHARD, *states.shape))
        self.bytes += size
        return True


def _allocate(file: int, size: int) -> None:
    """Take the place on the disk now: a full one found out while writing through a memory map ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
