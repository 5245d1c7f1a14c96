"""One optimizer step, the same however it is cut into micro-batches and processes.

Notable:
- A step's loss is the sum over its rows, divided by their units over all processes and micro-batches.
- Everything random in a step is drawn from (seed, step, process).
- A step whose loss or gradient is no number moves nothing. That is decided on the device, for all processes alike: so
  nobody waits for its numbers, which `readings` reads later.
"""

from __future__ import annotations

import math
import random
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.training.checkpoints import trainable
from blipvqa.training.readings import Unread
from blipvqa.training.stopping import Stop
from blipvqa.training.task import Batch, Place, Task


class Stepper:
    """Takes the optimizer steps of one run; `wrapped` and `optimizer` are what accelerate prepared."""

    def __init__(self, config: Config, task: Task, accelerator: Accelerator, model, wrapped, optimizer):
        self.config, self.task, self.accelerator = config, task, accelerator
        self.model, self.wrapped, self.optimizer = model, wrapped, optimizer

    def take(self, place: Place, rate: float, batches: list[Batch], total: int, row_ids: list[str], stop: Stop):
        """The step at `place`, at learning rate `rate`, on this process's micro-batches of `total` rows: an `Unread`.

        `row_ids` and the wish to `stop` are this process's.
        """
        accelerator = self.accelerator
        draw = random.Random(f"{self.config.seed}/{place.number}/{accelerator.process_index}")
        torch.manual_seed(draw.getrandbits(63))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums = self._backward(batches, place)
        clip = self.config.train.clip_norm or math.inf
        norm = accelerator.clip_grad_norm_(trainable(self.model).values(), clip).float()
        mine = torch.stack([*sums.values(), torch.full_like(sums["loss"], float(stop))])[None]
        sums_of_all = mine if accelerator.num_processes == 1 else accelerator.gather(mine)
        self._update(sums_of_all.isfinite().all() & norm.isfinite())
        return Unread(place.number + 1, total, row_ids, list(sums), sums_of_all, norm, stop)

    def _backward(self, batches: list[Batch], place: Place) -> dict[str, Tensor]:
        """Gradients of the step's loss; returns this process's sums of losses, and after it of their parts."""
        accelerator = self.accelerator
        units = self._units(batches)
        self.wrapped.train()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, list[Tensor]] = {"loss": []}
        for number, batch in enumerate(batches):
            batch = {key: value.to(accelerator.device, non_blocking=True) for key, value in batch.items()}
            last = number == len(batches) - 1
            with nullcontext() if last else accelerator.no_sync(self.wrapped):
                losses = self.task.losses(self.wrapped, batch, place)
                loss = losses.per_row.sum()
                accelerator.backward(loss * accelerator.num_processes / units)  # DDP averages over processes
            sums["loss"].append(loss.detach())
            for name, part in losses.parts.items():
                sums.setdefault(name, []).append(part.detach().sum())
        return {name: torch.stack(values).sum() for name, values in sums.items()}

    def _units(self, batches: list[Batch]) -> int | Tensor:
        """What the step's loss is divided by, over all processes."""
        units = sum(self.task.units(self.config, batch) for batch in batches)
        if self.accelerator.num_processes == 1:
            return units
        return self.accelerator.reduce(torch.full((), units, device=self.accelerator.device))

    def _update(self, finite: Tensor) -> None:
        """Move the weights, or leave the step out where it is not `finite`.

        fp16's scaler sees to that itself, and lowers its scale. Else the optimizer is told as the scaler would tell it:
        its fused kernel moves neither weights nor moments nor the count of steps where `found_inf` is 1.
        """
        if self.accelerator.scaler is None:
            self.optimizer.optimizer.found_inf = (~finite).float()
        self.optimizer.step()
