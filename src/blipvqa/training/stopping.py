"""Why a run stops before its end: a value that all processes agree on, so that none waits for one that left."""

from __future__ import annotations

import time
from enum import IntEnum

import torch
from accelerate import Accelerator

from blipvqa.training.interrupts import Interrupts


class Stop(IntEnum):
    """What asks a run to stop; of several processes' reasons the largest counts."""

    NO = 0
    MINUTES = 1  # train.max_minutes are over: the run pauses in good order
    SIGNAL = 2  # a signal or Jupyter's stop button: the caller must not go on as if the run had ended


class Stopping:
    """This process's reasons to stop, and the agreement of all processes on one."""

    def __init__(self, accelerator: Accelerator, interrupts: Interrupts, max_minutes: float | None, started: float):
        self.accelerator, self.interrupts = accelerator, interrupts
        self.max_minutes, self.started = max_minutes, started  # by time.monotonic()

    def mine(self) -> Stop:
        """This process's wish, by now."""
        if self.interrupts.received:
            return Stop.SIGNAL
        over = self.max_minutes and time.monotonic() - self.started > 60 * self.max_minutes
        return Stop.MINUTES if over else Stop.NO

    def agree(self) -> Stop:
        """The reason that all processes act on, by now."""
        stop = self.mine()
        if self.accelerator.num_processes == 1:
            return stop
        return Stop(int(self.accelerator.gather(torch.full((1,), int(stop), device=self.accelerator.device)).max()))

    def describe(self, stop: Stop) -> str:
        """The reason for people."""
        if stop is Stop.MINUTES:
            return f"train.max_minutes ({self.max_minutes:g}) are over"
        return self.interrupts.received or "another process was asked to stop"
