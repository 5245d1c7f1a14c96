"""Pictures to states: what every BLIP here does first, and need not do twice where no training changes it.

Notable:
- The states of a vision tower that no training changes are kept on the disk, found by a digest of a picture's pixels
  and of the tower. Each picture is encoded by itself, so that its states do not depend on its batch, and a run that
  goes on computes the same ones.
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

from blipvqa.models.cpu import large_products_are_in_bf16
from blipvqa.models.processes import number_of_processes
from blipvqa.models.towers import image_states, normalized

SHARD = 64  # pictures a file


class SeesPictures:
    """The vision tower's part of a BLIP model, whose `vision_model` it uses."""

    encode_pixels = staticmethod(image_states)  # until `compile_vision`
    kept: KeptStates | None = None  # until `keep_states`
    kept_as = ""

    def picture_states(self, pixel_values: Tensor, maps: list | None = None, once: bool = False) -> Tensor:
        """States `[I,N,D]` of pictures `[I,3,H,W]`, uint8 or normalized floats.

        `maps` collects each vision layer's attention to itself `[I,heads,N,N]`. `once`: nobody asks for these pictures
        again, so that none of them takes place on the disk.
        """
        if maps is not None:
            return image_states(self.vision_model, normalized(pixel_values), maps)
        if self.kept is not None:
            return self.kept.of(pixel_values, self._encode, self.kept_as, once)
        return self._encode(pixel_values)

    def _encode(self, pixel_values: Tensor) -> Tensor:
        return self.encode_pixels(self.vision_model, normalized(pixel_values))

    def compile_vision(self) -> None:
        """Compile the vision tower, most of the arithmetic; packed text of ever new lengths stays eager."""
        self.encode_pixels = torch.compile(image_states, dynamic=True)

    def sees_the_same(self) -> bool:
        """Whether a picture's states stay what they are: nothing in the vision tower is trained or drawn."""
        trained = any(parameter.requires_grad for parameter in self.vision_model.parameters())
        return not trained and self.config.vision_config.attention_dropout == 0

    def keep_states(self, kept: KeptStates, tower: str = "") -> None:
        """From now on keep states in `kept`; where it holds those of several models, `tower` tells them apart."""
        self.kept, self.kept_as = kept, tower


class KeptStates:
    """States of pictures, memory-mapped from files without a name, which vanish with the process: up to `limit` bytes
    of all processes together, on the disk of `folder`."""

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit // number_of_processes()
        self.places: dict[bytes, int] = {}  # of a picture, by its digest
        self.shards: list[Tensor] = []  # [SHARD,N,D] each
        self.bytes = 0
        self.note = ""  # why no more are kept

    @torch.no_grad()
    def of(self, pixels: Tensor, encode: Callable[[Tensor], Tensor], tower: str = "", once: bool = False) -> Tensor:
        """`encode(pixels) [I,N,D]` by this `tower`, computed for the pictures `[I,3,H,W]` that are not here yet, and
        kept unless they come `once`."""
        device = pixels.device
        half = str(torch.get_autocast_dtype(device.type)) if torch.is_autocast_enabled(device.type) else ""
        half += "large products in bf16" * large_products_are_in_bf16()
        parts = []
        for one in pixels.cpu():
            digest = hashlib.blake2b(one.numpy().tobytes(), digest_size=16, key=half.encode())
            digest.update(tower.encode())
            key = digest.digest()
            if key in self.places:
                shard, place = divmod(self.places[key], SHARD)
                parts.append(self.shards[shard][place].to(device))
            else:
                parts.append(encode(one[None].to(device))[0])
                if not once:
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
