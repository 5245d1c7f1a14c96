"""Values of a device, looked at without a wait for them.

On a CPU they are there at once. Elsewhere they are copied while the device goes on, and seen some calls later.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

AHEAD = 10  # values that may be under way: else a slow device would be asked for ever more that nobody may need


class Looks:
    """Values that are sent one after the other, of which the newest that is there is seen."""

    def __init__(self, device: torch.device):
        self.device = device
        self.under_way: deque[tuple[Tensor, torch.Event | None]] = deque()

    def send(self, values: Tensor) -> None:
        if self.device.type == "cpu":
            self.under_way.append((values, None))
            return
        # a copy to memory that is not pinned would be waited for
        copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=self.device.type == "cuda")
        copy.copy_(values, non_blocking=True)
        event = torch.Event(self.device)
        event.record()
        self.under_way.append((copy, event))

    def newest(self) -> Tensor | None:
        """The newest values that are there, on the CPU; None where none came since the last call."""
        newest = None
        while self.under_way:
            values, event = self.under_way[0]
            if event is not None and len(self.under_way) > AHEAD:
                event.synchronize()
            elif event is not None and not event.query():
                break
            newest = values
            self.under_way.popleft()
        return newest
