"""What the steps gave, read where somebody looks at it: a number that is read stops a GPU's work ahead.

Notable:
- On a CPU, and on Apple's GPU, every step is read at once; elsewhere steps are read at `train.log_every`, before a
  checkpoint, at an epoch's end and when the run is to stop. Nothing is written before what came to it is read.
- A step that is no number was left out on the device already (`step`): read late, it is still counted, or named with
  its rows, and no checkpoint holds what came after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from blipvqa.config.knobs import TrainConfig
from blipvqa.errors import DivergedError
from blipvqa.training.progress import Progress
from blipvqa.training.stopping import Stop

READ_AT_ONCE = ("cpu", "mps")
SKIPS_IN_A_ROW = 32  # fp16's loss scale falls from 65,536 to below 1 in 17 halvings: more skips are no matter of scale


@dataclass(frozen=True)
class Unread:
    """A step whose numbers are on the device still."""

    number: int  # of the step, from 1
    total: int  # its rows over all processes
    row_ids: list[str]  # this process's
    names: list[str]  # of the sums: "loss", and its parts
    sums: Tensor  # [processes, sums + 1], each process's, and last its wish to stop
    norm: Tensor  # of the gradient
    stop: Stop  # this process's wish


@dataclass(frozen=True)
class StepTaken:
    """What a step gave: its loss summed over all rows and processes, the gradient's norm, whether to stop, and the
    sums of the loss's named parts."""

    loss_sum: float
    norm: float
    stop: Stop
    parts: dict[str, float] = field(default_factory=dict)
    total: int = 1

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss_sum) and math.isfinite(self.norm)


class Readings:
    """The steps that are taken and not read yet."""

    def __init__(self, train: TrainConfig, accelerator: Accelerator):
        self.train, self.accelerator = train, accelerator
        self.unread: list[Unread] = []
        self.skipped_in_a_row = 0

    def due(self, progress: Progress, steps: int) -> bool:
        """Whether to read now; all processes answer alike. `steps` are the epoch's."""
        every = (self.train.log_every, self.train.checkpoint_every or steps)
        return (
            self.accelerator.device.type in READ_AT_ONCE
            or progress.step == 1
            or progress.position == steps
            or any(progress.step % each == 0 for each in every)
            or (self.accelerator.num_processes == 1 and self.unread[-1].stop is not Stop.NO)
        )

    def read(self, progress: Progress) -> tuple[StepTaken, int]:
        """The last step, with the reason to stop that any process had since the last reading, and the rows since.

        All steps are added to `progress`. Raises DivergedError on a loss or gradient that is no number, unless
        `train.nonfinite` is skip or a smaller loss scale can mend it.
        """
        unread, self.unread = self.unread, []
        numbers = torch.stack([torch.cat([step.sums.flatten(), step.norm.view(1)]) for step in unread]).tolist()
        rows, stop = 0, Stop.NO
        for step, (*flat, norm) in zip(unread, numbers, strict=True):
            width = len(step.names) + 1
            by_process = [flat[start : start + width] for start in range(0, len(flat), width)]
            *sums, stops = zip(*by_process, strict=True)
            loss, *parts = map(sum, sums)
            stop, rows = max(stop, Stop(int(max(stops)))), rows + step.total
            taken = StepTaken(loss, norm, stop, dict(zip(step.names[1:], parts, strict=True)), step.total)
            try:
                self.judge(taken)
            except DivergedError as error:
                raise DivergedError(_which(step, error)) from None
            progress.skipped += not taken.finite
            progress.questions += taken.total * taken.finite
            progress.loss_sum += taken.loss_sum if taken.finite else 0.0
        return taken, rows

    def judge(self, taken: StepTaken) -> None:
        """Raises DivergedError where a step must end the run."""
        self.skipped_in_a_row = 0 if taken.finite else self.skipped_in_a_row + 1
        scaled = self.accelerator.scaler is not None
        hopeless = self.skipped_in_a_row >= SKIPS_IN_A_ROW
        mendable = scaled and math.isfinite(taken.loss_sum)  # by a smaller scale; a loss that is no number is not
        if hopeless or not (taken.finite or mendable or self.train.nonfinite == "skip"):
            row = f", {self.skipped_in_a_row} such steps in a row" if self.skipped_in_a_row > 1 else ""
            raise DivergedError(f"loss {taken.loss_sum / taken.total:g}, gradient norm {taken.norm:g}{row}")


def _which(step: Unread, error: DivergedError) -> str:
    ids = step.row_ids
    return (
        f"step {step.number}: {error}. The last checkpoint is intact. Lower train.learning_rate or use "
        f"train.precision: fp32; train.nonfinite: skip leaves such steps out. The step's rows: "
        f"{', '.join(ids[:8])}{', …' * (len(ids) > 8)}"
    )
