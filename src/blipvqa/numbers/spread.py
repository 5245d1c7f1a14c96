"""How much a number moves from one training to the next: mean and spread over seeds.

A bootstrap interval is of one trained model. Another seed gives another model, and on small data the two differ by more
than the interval of either says (Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks").
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from blipvqa.numbers.few_groups import student

FEWEST = 3  # seeds: with two, Student's quantile is 12.7 and the interval says nothing


class Spread(TypedDict):
    """A number over seeds."""

    value: float | None  # the mean
    sd: float | None  # sample standard deviation (n - 1); None for a single seed
    n: int  # seeds that have the number
    low: float | None  # 95 % t-interval of the mean over all seeds; None below FEWEST, or where no two seeds differ
    high: float | None


def spread(values: Sequence[float | None], most: float = np.inf) -> Spread:
    """Of one number of several seeds, from 0 to `most`; a seed where it is undefined does not count.

    Three seeds that agree do not say that all others would, so an interval without width is none.
    """
    defined = np.array([value for value in values if value is not None], float)
    n = len(defined)
    if not n:
        return {"value": None, "sd": None, "n": 0, "low": None, "high": None}
    mean = float(defined.mean())
    sd = float(defined.std(ddof=1)) if n > 1 else None
    half = student(n - 1) * sd / np.sqrt(n) if n >= FEWEST and sd else None
    low, high = (None, None) if half is None else (float(max(0, mean - half)), float(min(most, mean + half)))
    return {"value": mean, "sd": sd, "n": n, "low": low, "high": high}


class Shift(TypedDict):
    """How far the means of two recipes lie apart, over their seeds."""

    value: float
    low: float
    high: float


def shift(a: Sequence[float | None], b: Sequence[float | None]) -> Shift | None:
    """The mean of `b` minus that of `a` with Welch's 95 % interval (1947).

    None where either has fewer than FEWEST seeds, or no two seeds of either differ.
    """
    one, other = spread(a), spread(b)
    if min(one["n"], other["n"]) < FEWEST:
        return None
    errors = [each["sd"] ** 2 / each["n"] for each in (one, other)]
    value = other["value"] - one["value"]
    if not sum(errors):
        return None
    degrees = sum(errors) ** 2 / sum(e**2 / (each["n"] - 1) for e, each in zip(errors, (one, other), strict=True))
    half = student(round(degrees, 6)) * sum(errors) ** 0.5
    return {"value": value, "low": float(value - half), "high": float(value + half)}


def by_seed_alone(values: Sequence[float | None], most: float = np.inf) -> float | None:
    """How far two further runs of one recipe lie apart in 95 of 100 cases, `most` at most.

    None with fewer than FEWEST seeds, or where no two differ.
    """
    over = spread(values)
    if over["n"] < FEWEST or not over["sd"]:
        return None
    return float(min(most, student(over["n"] - 1) * over["sd"] * np.sqrt(2)))
