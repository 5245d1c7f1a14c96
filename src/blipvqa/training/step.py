"""One optimizer step, the same however it is cut into micro-batches and processes.

Notable:
- A step's loss is the sum over its rows, divided by their units over all processes and micro-batches.
- Everything random in a step is drawn from (seed, step, process).
- All processes leave a step with the same numbers and the same wish to stop, so that none waits for another.
"""

from __future__ import annotations

import math
import random
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from blipvqa.config.knobs import Config
from blipvqa.errors import DivergedError
from blipvqa.training.checkpoints import trainable
from blipvqa.training.stopping import Stop, Stopping
from blipvqa.training.task import Batch, Place, Task

SKIPS_IN_A_ROW = 32  # fp16's loss scale falls from 65,536 to below 1 in 17 halvings: more skips are no matter of scale


@dataclass(frozen=True)
class StepTaken:
    """What a step gave: its loss summed over all rows and processes, the gradient's norm, whether to stop, and the
    sums of the loss's named parts."""

    loss_sum: float
    norm: float
    stop: Stop
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss_sum) and math.isfinite(self.norm)


class Stepper:
    """Takes the optimizer steps of one run; `wrapped` and `optimizer` are what accelerate prepared."""

    def __init__(self, config: Config, task: Task, accelerator: Accelerator, model, wrapped, optimizer):
        self.config, self.task, self.accelerator = config, task, accelerator
        self.model, self.wrapped, self.optimizer = model, wrapped, optimizer
        self.skipped_in_a_row = 0

    def take(self, place: Place, rate: float, batches: list[Batch], total: int, stopping: Stopping) -> StepTaken:
        """The step at `place`, at learning rate `rate`, on this process's micro-batches of `total` rows.

        Raises FloatingPointError on a loss or gradient that is no number, unless `train.nonfinite` is skip or a
        smaller loss scale can mend it.
        """
        accelerator = self.accelerator
        draw = random.Random(f"{self.config.seed}/{place.number}/{accelerator.process_index}")
        torch.manual_seed(draw.getrandbits(63))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums = self._backward(batches, place)
        clip = self.config.train.clip_norm or math.inf
        norm = float(accelerator.clip_grad_norm_(trainable(self.model).values(), clip))
        (loss, *parts), stop = stopping.agree(*sums.values())
        taken = StepTaken(loss, norm, stop, dict(zip(list(sums)[1:], parts, strict=True)))
        self._update(taken, total)
        return taken

    def _backward(self, batches: list[Batch], place: Place) -> dict[str, float]:
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
        return {name: float(torch.stack(values).sum()) for name, values in sums.items()}

    def _units(self, batches: list[Batch]) -> int:
        """What the step's loss is divided by, over all processes."""
        units = sum(self.task.units(self.config, batch) for batch in batches)
        if self.accelerator.num_processes == 1:
            return units
        return int(self.accelerator.reduce(torch.tensor(units, device=self.accelerator.device)))

    def _update(self, taken: StepTaken, total: int) -> None:
        """Move the weights, or leave the step out: where the loss scale of fp16 overflowed, or where asked to."""
        self.skipped_in_a_row = 0 if taken.finite else self.skipped_in_a_row + 1
        scaled = self.accelerator.scaler is not None
        hopeless = self.skipped_in_a_row >= SKIPS_IN_A_ROW
        mendable = scaled and math.isfinite(taken.loss_sum)  # by a smaller scale; a loss that is no number is not
        if hopeless or not (taken.finite or mendable or self.config.train.nonfinite == "skip"):
            row = f", {self.skipped_in_a_row} such steps in a row" if self.skipped_in_a_row > 1 else ""
            raise DivergedError(f"loss {taken.loss_sum / total:g}, gradient norm {taken.norm:g}{row}")
        if taken.finite or scaled:  # the scaler itself leaves out what overflows, and lowers its scale
            self.optimizer.step()
