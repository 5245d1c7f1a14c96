"""Measures of a sequence, as functions of its matrix of scores; each with an interval over pictures.

Notable:
- `R [..., 1 + N, N]`: row k is the model after stage k (row 0 the model before the first), column j a data set.
- A number that is not defined (one stage forgets nothing) is None, and `reason` says why.
- Pictures of each data set are drawn with replacement by themselves, and all models of a resample are scored on the
  same draw: differences are paired. How far such draws may be believed is judged by the set with the fewest pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NotRequired

import numpy as np

from blipvqa.numbers.bootstrap import Bootstrap, Estimate, interval, resample
from blipvqa.numbers.comparison import difference_interval
from blipvqa.numbers.measures import divide


class Number(Estimate):
    """An estimate, or why there is none."""

    reason: NotRequired[str]


def final_average(scores: np.ndarray) -> np.ndarray:
    """The last model on all data sets (Lopez-Paz and Ranzato 2017, ACC)."""
    return scores[..., -1, :].mean(-1)


def learnt(scores: np.ndarray) -> np.ndarray:
    """Each data set right after its stage (Riemer et al. 2019, learning accuracy)."""
    return np.diagonal(scores[..., 1:, :], axis1=-2, axis2=-1).mean(-1)


def forgetting(scores: np.ndarray) -> np.ndarray:
    """How far each data set but the last fell from its best earlier score (Chaudhry et al. 2018, equations 3 and 4)."""
    return (scores[..., 1:-1, :-1].max(-2) - scores[..., -1, :-1]).mean(-1)


def backward_transfer(scores: np.ndarray) -> np.ndarray:
    """What later stages added to a data set's score right after its own (Lopez-Paz and Ranzato 2017, BWT)."""
    own = np.diagonal(scores[..., 1:, :], axis1=-2, axis2=-1)
    return (scores[..., -1, :-1] - own[..., :-1]).mean(-1)


def forward_transfer(scores: np.ndarray) -> np.ndarray:
    """What earlier stages added to a data set's score before its own, beyond the first model's (the same, FWT)."""
    before = np.diagonal(scores[..., 1:-1, 1:], axis1=-2, axis2=-1)
    return (before - scores[..., 0, 1:]).mean(-1)


@dataclass(frozen=True)
class Measure:
    """How a measure is got, and what of it people read."""

    value: Callable[[np.ndarray], np.ndarray]
    title: str
    stages: int = 1  # with fewer it is not defined
    signed: bool = False  # a mean of differences, not of shares


MEASURES = {
    "final_average": Measure(final_average, "final average"),
    "learnt": Measure(learnt, "right after its stage"),
    "forgetting": Measure(forgetting, "forgetting", 2, signed=True),
    "backward_transfer": Measure(backward_transfer, "backward transfer", 2, signed=True),
    "forward_transfer": Measure(forward_transfer, "forward transfer", 2, signed=True),
}
ONE_STAGE = "the sequence has one stage"
A_GAP = "a model that it takes was not asked about a data set"
NOT_IN_ORDER = {
    "joint": "joint training has no order of stages",
    "alone": "each model learnt one data set",
}


def undefined(reason: str) -> Number:
    """A number that there is not, with the reason."""
    return {"value": None, "n": 0, "groups": 0, "low": None, "high": None, "reason": reason}


def resampled_scores(
    right: Sequence[np.ndarray], groups: Sequence[np.ndarray], bootstrap: Bootstrap
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix of scores `[models, sets]`, and that of every resample `[resamples, models, sets]`.

    `right[j] [models, rows]` is 1 where a model answers a row of set j rightly, NaN where it was not asked; `groups[j]`
    are the rows' pictures or patients.
    """
    values, samples = [], []
    for number, (of_set, grouped) in enumerate(zip(right, groups, strict=True)):
        counts = np.concatenate([of_set, np.ones((1, of_set.shape[1]))]).T  # [rows, models + 1]
        own = replace(bootstrap, seed=bootstrap.seed + number)
        (sums,) = resample(counts, grouped, [np.arange(len(counts))], own)
        values.append(divide(counts[:, :-1].sum(0), len(counts)))
        samples.append(divide(sums[:, :-1], sums[:, -1:]))
    return np.stack(values, -1), np.stack(samples, -1)


def measure(
    method: str, right: Sequence[np.ndarray], groups: Sequence[np.ndarray], bootstrap: Bootstrap
) -> dict[str, Number]:
    """Every measure of a method; `right` as in `resampled_scores`, row 0 of it the model before the first stage."""
    if empty := [j for j, of_set in enumerate(right) if not of_set.shape[1]]:
        return {name: undefined(f"{len(empty)} of {len(right)} data sets have no such question") for name in MEASURES}
    values, samples = resampled_scores(right, groups, bootstrap)
    return {name: _number(name, method, values, samples, groups) for name in MEASURES}


def _number(name: str, method: str, values: np.ndarray, samples: np.ndarray, groups: Sequence[np.ndarray]) -> Number:
    how, sets = MEASURES[name], values.shape[1]
    value = how.value
    if method in NOT_IN_ORDER:
        if name != "final_average":
            return undefined(NOT_IN_ORDER[method])
        value = learnt if method == "alone" else final_average  # each data set by the model that learnt it
    elif sets < how.stages:
        return undefined(ONE_STAGE)
    found, drawn = float(value(values)), value(samples)
    if not np.isfinite(found):  # a value NaN is no JSON
        return undefined(A_GAP)
    sizes = [np.unique(of_set, return_counts=True)[1] for of_set in groups]  # rows of each picture
    interval_of = difference_interval if how.signed else interval
    low, high = interval_of(found, drawn, min(sizes, key=len))
    return {"value": found, "n": sum(map(len, groups)), "groups": sum(map(len, sizes)), "low": low, "high": high}
