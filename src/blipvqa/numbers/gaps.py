"""Gaps between the levels of a column: how far a share differs between two sets of rows, with interval and test.

Notable:
- Both levels are resampled with the same groups: a group that has rows in both counts on both sides, as it should.
- The interval is Student's with Welch's degrees of freedom (1947), and two further groups in each level, one all right
  and one all wrong, so that two levels without a mistake are not sure to be equal.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import TypedDict

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, resample
from blipvqa.numbers.comparison import SURE, holm
from blipvqa.numbers.few_groups import quantile_of, student_tail
from blipvqa.numbers.measures import divide

WEIGHT = 0.25  # of each further group


class Gap(TypedDict):
    """How much larger a share is in one level than in another."""

    levels: tuple[str, str]
    values: tuple[float, float]
    n: tuple[int, int]  # rows
    groups: tuple[int, int]
    difference: float  # the first minus the second
    low: float | None  # 95 % interval; None without resamples
    high: float | None
    p: float | None
    p_holm: float | None  # adjusted for all gaps that were looked at (`adjusted_gaps`)
    real: bool  # p_holm is below SURE


def gaps(
    right: np.ndarray, groups: np.ndarray, levels: Mapping[str, np.ndarray], bootstrap: Bootstrap = BY_IMAGE
) -> list[Gap]:
    """The gap of every two levels (row numbers), of a share of right rows; levels need two groups at least."""
    counts = np.stack([np.asarray(right, float), np.ones(len(right))], axis=1)
    drawn = resample(counts, groups, list(levels.values()), bootstrap)
    resampled = {level: divide(sums[:, 0], sums[:, 1]) for level, sums in zip(levels, drawn, strict=True)}
    return [
        _gap((a, b), counts, groups, (levels[a], levels[b]), resampled[a], resampled[b])
        for a, b in combinations(levels, 2)
    ]


def adjusted_gaps(tests: list[Gap]) -> list[Gap]:
    """The gaps with Holm's correction for their number."""
    p_values = holm([gap["p"] for gap in tests])
    return [gap | {"p_holm": p, "real": p is not None and p < SURE} for gap, p in zip(tests, p_values, strict=True)]


def _gap(levels, counts, groups, rows, resampled_a, resampled_b) -> Gap:
    values = tuple(float(counts[each, 0].mean()) for each in rows)
    sizes = [np.unique(groups[each], return_counts=True)[1].astype(float) for each in rows]
    gap: Gap = {
        "levels": levels,
        "values": values,
        "n": tuple(len(each) for each in rows),
        "groups": tuple(len(each) for each in sizes),
        "difference": values[0] - values[1],
        **dict.fromkeys(("low", "high", "p", "p_holm")),
        "real": False,
    }
    samples = resampled_a - resampled_b
    defined = np.isfinite(samples)
    if not defined.any():
        return gap
    own = [float(np.nanvar(sample[defined])) for sample in (resampled_a, resampled_b)]
    middle, enlarged = zip(*(_enlarged(*each) for each in zip(values, own, sizes, strict=True)), strict=True)
    # what groups with rows in both levels share goes into the resampled difference, not into the levels
    shared = sum(own) - float(np.var(samples[defined]))
    variance = max(sum(enlarged) - shared, 1e-12)
    parts = sum(each**2 / (len(size) - 1) for each, size in zip(enlarged, sizes, strict=True))
    degrees = max(1.0, sum(enlarged) ** 2 / parts)
    centre, error = middle[0] - middle[1], variance**0.5
    half = quantile_of(degrees) * error
    low, high = min(centre - half, gap["difference"]), max(centre + half, gap["difference"])
    p = student_tail(centre / error, degrees)
    return gap | {"low": max(-1.0, low), "high": min(1.0, high), "p": p, "p_holm": p, "real": p < SURE}


def _enlarged(value: float, variance: float, sizes: np.ndarray) -> tuple[float, float]:
    """A level's share and its variance, with two further groups of WEIGHT, all right and all wrong."""
    rows, groups = float(sizes.sum()), len(sizes)
    size = float(sizes @ sizes) / rows  # of the group that an average row is in
    enlarged = rows + 2 * WEIGHT * size
    middle = (rows * value + WEIGHT * size) / enlarged
    spread = variance * groups / (groups - 1) + (value - middle) ** 2 / groups
    squares = rows**2 * spread + WEIGHT * size**2 * ((1 - middle) ** 2 + middle**2)
    return middle, squares / enlarged**2
