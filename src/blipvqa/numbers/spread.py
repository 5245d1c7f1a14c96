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
    low: float | None  # 95 % t-interval of the mean over all seeds; None below FEWEST
    high: float | None


def spread(values: Sequence[float | None]) -> Spread:
    """Of one number of several seeds; a seed where it is undefined does not count."""
    defined = np.array([value for value in values if value is not None], float)
    n = len(defined)
    if not n:
        return {"value": None, "sd": None, "n": 0, "low": None, "high": None}
    mean = float(defined.mean())
    sd = float(defined.std(ddof=1)) if n > 1 else None
    half = student(n - 1) * sd / np.sqrt(n) if n >= FEWEST else None
    low, high = (None, None) if half is None else (float(mean - half), float(mean + half))
    return {"value": mean, "sd": sd, "n": n, "low": low, "high": high}
