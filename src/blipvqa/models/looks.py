"""Values of a device, read while it goes on.

On a CPU they are there at once. Elsewhere they are copied as soon as they are computed: who reads them stands still
until then, and not until all is computed that the device was asked for later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

AHEAD = 9  # looks that may be under way: so many tokens at most are written after the last text has ended


class Look:
    """Values on their way to the CPU."""

    def __init__(self, *values: Tensor):
        devices = [value.device for value in values if value.device.type != "cpu"]
        self.values = tuple(map(_copy, values))
        self.event = torch.Event(devices[0]) if devices else None
        if self.event is not None:
            self.event.record()

    def is_there(self) -> bool:
        return self.event is None or self.event.query()

    def read(self) -> tuple[Tensor, ...]:
        if self.event is not None:
            self.event.synchronize()
        return self.values


def _copy(values: Tensor) -> Tensor:
    if values.device.type == "cpu":
        return values
    # a copy to memory that is not pinned would be waited for
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.device.type == "cuda")
    return copy.copy_(values, non_blocking=True)


class Looks:
    """Looks that are sent one after the other, and read in that order."""

    def __init__(self):
        self.under_way: deque[Look] = deque()

    def send(self, *values: Tensor) -> None:
        self.under_way.append(Look(*values))

    def arrived(self, everything: bool = False) -> Iterator[tuple[Tensor, ...]]:
        """The values of those that are there; what is under way beyond `AHEAD`, or `everything`, is waited for."""
        while self.under_way and (everything or len(self.under_way) > AHEAD or self.under_way[0].is_there()):
            yield self.under_way.popleft().read()
