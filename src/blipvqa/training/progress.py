"""How far a run is, and which of its epochs is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from blipvqa.config.knobs import ConfigError

LOGS = ("history.jsonl", "samples.jsonl")


@dataclass
class Progress:
    """How far a run is: what a checkpoint holds beside its tensors."""

    step: int = 0  # optimizer steps done
    epoch: int = 0  # epochs done
    position: int = 0  # steps done in the one that is under way
    loss_sum: float = 0.0  # of that epoch's questions so far
    questions: int = 0
    skipped: int = 0  # steps left out for a gradient that is no number
    best: dict | None = None  # {"epoch", "metric", "value"}
    stale: int = 0  # epochs since
    weights: str | None = None  # the digest of what was exported last: a kill after it must not lose it
    frozen: str | None = None  # the digest of the weights that stay as they are, which no checkpoint holds
    made_by: dict | None = None  # the run's settings, and digests of its rows and of what it began with
    micro_batch_size: int | None = None  # halved when memory did not suffice
    scaler: dict | None = None  # fp16's loss scale
    rows: dict = field(default_factory=lambda: dict.fromkeys(LOGS, 0))  # of each log, written so far

    def note_epoch(self, metric: str, numbers: dict) -> bool:
        """Whether this epoch is the best so far: never one whose value is undefined (None, NaN, infinite)."""
        sign = -1 if metric == "loss" else 1
        value, best = numbers[metric], self.best and self.best["value"]
        better = value is not None and math.isfinite(value) and (best is None or sign * value > sign * best)
        if better:
            self.best, self.stale = {"epoch": self.epoch, "metric": metric, "value": value}, 0
        else:
            self.stale += 1
        return better


def check_metric(name: str, numbers: dict, metrics: Sequence[str]) -> None:
    """A metric that counts no row of validation can choose no epoch, and must not end the run by its patience. Others
    that are counted there are named: those of `metrics`, which may be chosen."""
    if numbers.get(name) is None:
        defined = [metric for metric in metrics if numbers.get(metric) is not None]
        raise ConfigError(
            f"train.metric: '{name}' counts no row of the validation split, so it cannot choose the best epoch. "
            f"Defined there: {', '.join(defined) or 'nothing'}. Set train.metric to one of these, or give "
            "validation more rows: where it is cut from train, by data.validation_share."
        )
