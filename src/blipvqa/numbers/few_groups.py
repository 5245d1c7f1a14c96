"""Intervals from few groups, where a bootstrap promises too much.

A percentile interval of ten groups covers the truth 82 to 91 times in a hundred, not 95, and a share near 0 or 1 is
worse off: at 0.98 it is 87 times from two hundred groups. Below FEW groups an interval is therefore Wilson's (1927), at
the effective number of rows: the rows over the design effect (Kish 1965), which says how much the rows of one group
repeat each other.

The design effect is estimated with two further groups of a part of the weight, one all right and one all wrong, as
large as the group of an average row. Without them a single wrong row in a hundred right ones says nothing of how wrong
rows cluster. Their weight grows with the fourth root of the groups: with one that stays the same, either shares near 1
are covered too rarely from a hundred groups, or shares in the middle too often from five.

In place of 1.96 stands Student's quantile. Its degrees of freedom are the geometric mean of the effective rows and of
the groups, each less one: groups alone (Korn and Graubard 1998) are far too few where rows repeat nothing, rows alone
too many where they do. With three wrong (or right) rows or fewer the outer bound is a Poisson's, because Wilson's
covers a share of 0.98 only 90 times in a hundred there (Brown, Cai and DasGupta 2001, section 4.1.1).

`tests/numbers/test_coverage.py` has the simulation that chose all this.
"""

from functools import lru_cache

import numpy as np

FEW = 500  # groups; from here on, intervals are percentiles of the bootstrap
WEIGHT, AT = 0.2, 30  # of each further group, beside so many real ones
CONFIDENCE = 0.95
LEAST_TAIL = 1e-9  # below, the sum over angles is rounding
RARE = np.array([0, 0.05129, 0.35536, 0.81769])  # the mean with which a Poisson makes 0, 1, 2, 3 or more 5 times in 100
TABLE = np.array([*range(1, 61), 80, 120, 240, 1000, 10_000], float)  # degrees of freedom


@lru_cache(maxsize=1024)
def student(degrees: float) -> float:
    """The two-sided 95 % quantile of Student's t: 12.71, 4.30, 3.18 … 1.96."""
    angles, below = _angles(degrees)
    return float(np.sqrt(degrees) * np.tan(np.interp((1 + CONFIDENCE) / 2, below, angles)))


def student_tail(t: float, degrees: float) -> float:
    """How likely Student's t of so many degrees of freedom lies at least as far from 0.

    LEAST_TAIL at least: no p-value is 0.
    """
    angles, below = _angles(degrees)
    return float(max(2 * np.interp(-np.arctan(abs(t) / np.sqrt(degrees)), angles, below), LEAST_TAIL))


@lru_cache(maxsize=8)
def _angles(degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles and how likely a smaller one is: t = sqrt(degrees) tan(angle), where the angle has a density proportional
    to cos(angle)^(degrees - 1)."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 20_001)
    density = np.clip(np.cos(angles), 0, None) ** (degrees - 1)
    below = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return angles, below / below[-1]


def quantile_of(degrees: float) -> float:
    """Student's quantile of any degrees of freedom, one at least, whole or not: between those of TABLE."""
    return float(np.interp(-1 / max(degrees, 1.0), -1 / TABLE, [student(each) for each in TABLE]))


def effective_rows(value: float, variance: float, sizes: np.ndarray) -> float:
    """How many independent rows would be as sure of a measure in [0, 1].

    `sizes` are the rows of each group `[group]`, `variance` is the measure's over bootstrap resamples of the groups.
    """
    rows, groups = float(sizes.sum()), len(sizes)
    weight = WEIGHT * (groups / AT) ** 0.25
    size = float(sizes @ sizes) / rows  # of the group that an average row is in
    enlarged = rows + 2 * weight * size
    middle = (rows * value + weight * size) / enlarged
    squares = rows**2 * (variance + (value - middle) ** 2 / groups) + weight * size**2 * ((1 - middle) ** 2 + middle**2)
    return rows * enlarged * middle * (1 - middle) / squares


def wilson(value: float, rows: float, quantile: float) -> tuple[float, float]:
    """Wilson's interval of a share of independent rows; with a Poisson's bound where few are wrong, or right."""
    squared = quantile**2 / rows
    centre = (value + squared / 2) / (1 + squared)
    half = np.sqrt(squared * (value * (1 - value) + squared / 4)) / (1 + squared)
    low, high = centre - half, centre + half
    low = min(low, _rare(rows * value, rows, low))
    high = max(high, 1 - _rare(rows * (1 - value), rows, 1 - high))
    # the value lies inside but for rounding, and error bars have no negative length
    return float(max(0.0, min(low, value))), float(min(1.0, max(high, value)))


def _rare(events: float, rows: float, wilsons: float) -> float:
    """The lower bound of a rate of events in `rows`, a Poisson's for three or fewer; else `wilsons`."""
    if events > len(RARE) - 1 + 1e-9:
        return wilsons
    return float(np.interp(events, range(len(RARE)), RARE)) / rows


def few_groups_interval(value: float, variance: float, sizes: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a measure in [0, 1] on 2 or more groups of `sizes` rows."""
    value = min(max(value, 0.0), 1.0)
    rows = effective_rows(value, variance, np.asarray(sizes, float))
    degrees = (max(rows - 1, 1.0) * (len(sizes) - 1)) ** 0.5
    return wilson(value, rows, quantile_of(degrees))
