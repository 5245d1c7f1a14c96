"""Which differences between two matrices of counts on the same rows are real, in pairs and by group.

Notable:
- The test exchanges the two runs within whole groups, at random: if they are equally good, each exchange is as likely
  as what was seen (a paired permutation test; Fisher 1935, Noreen 1989). It is right with any number of groups, and
  five groups that changed, all for the better, are a coin with five heads: p = 2 / 2^5 = 0.06.
- The interval comes from resampled groups, the same for both, so what makes a group hard for both cancels (Koehn 2004,
  with groups for sentences). Of fewer than FEW groups it is a t-interval.
- Of many tests some seem real by chance. `holm` is the one place where that is corrected.
- Test and interval are of different kinds and may disagree, above all on few groups. A difference is called real where
  both say so: a page must not print "real" beside an interval that holds 0.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, CHUNK, TAIL, Bootstrap, resample, sum_by_group
from blipvqa.numbers.few_groups import FEW, student
from blipvqa.numbers.measures import Measures

SURE = 0.05  # below, a test says that a difference is real
FLIPS = 4000  # exchanges drawn where there are too many to try all
ALL_FLIPS = 11  # with so many changed groups or fewer, all 2^11 are tried
WEIGHT = 0.05  # of two further groups, one all for the better, one all for the worse


class Difference(TypedDict):
    """One measure of two runs."""

    a: float | None  # None where the measure is undefined in either run; so are `b` and `difference`
    b: float | None
    difference: float | None  # b minus a
    low: float | None  # 95 % interval of the difference; None where there is none
    high: float | None
    n: int  # the rows that the measure counts
    groups: int  # the groups (images, patients) that these rows are of
    p: float | None  # of the test, by itself; None where there is none
    p_holm: float | None  # adjusted, where it is one of many tests (`adjusted`); else the same
    real: bool  # p_holm is below SURE, and the interval does not hold 0


NO_DIFFERENCE: Difference = {
    **dict.fromkeys(("a", "b", "difference", "low", "high", "p", "p_holm")),
    "n": 0,
    "groups": 0,
    "real": False,
}


def compare_counts(
    a: np.ndarray,
    b: np.ndarray,
    groups: np.ndarray,
    slices: Sequence[np.ndarray],
    measures: Measures,
    names: Iterable[str],
    bootstrap: Bootstrap = BY_IMAGE,
) -> Iterator[dict[str, Difference]]:
    """For each slice (row numbers), the named measures of `b` minus those of `a`, both `[row, measures.columns]`.

    Each test stands by itself; whoever looks at many of them calls `adjusted`.
    """
    names, both, width = list(names), np.hstack([a, b]), len(measures.columns)
    for rows, sums in zip(slices, resample(both, groups, slices, bootstrap), strict=True):
        totals = both[rows].sum(axis=0)
        value_a, value_b = measures.of_sums(totals[:width], names), measures.of_sums(totals[width:], names)
        sample_a, sample_b = measures.of_sums(sums[..., :width], names), measures.of_sums(sums[..., width:], names)
        tests = {} if not len(sums) else exchange_test(a[rows], b[rows], groups[rows], measures, names, bootstrap.seed)
        yield {
            name: _difference(
                float(value_a[name]),
                float(value_b[name]),
                sample_b[name] - sample_a[name],
                groups[rows][measures.counted_rows(name, a[rows])],
                measures[name].most,
                tests.get(name),
            )
            for name in names
        }


def exchange_test(
    a: np.ndarray, b: np.ndarray, groups: np.ndarray, measures: Measures, names: Sequence[str], seed: int = 0
) -> dict[str, float | None]:
    """How often exchanging the two runs in whole groups makes at least the difference that is there, for each measure.

    None from a single group, and where the measure is undefined.
    """
    _, moved = sum_by_group(b - a, groups)
    several = len(moved) > 1
    moved = moved[np.any(moved != 0, axis=1)]  # exchanging what is the same changes nothing
    totals = a.sum(axis=0), b.sum(axis=0)
    seen = _differences(totals, np.zeros((1, a.shape[1])), measures, names)
    as_large, tried = dict.fromkeys(names, 0), 0
    for flips in _flips(len(moved), seed):
        tried += len(flips)
        differences = _differences(totals, flips @ moved, measures, names)
        for name in names:
            smaller = np.abs(differences[name]) < np.abs(seen[name]) - 1e-12  # an undefined one is not smaller
            as_large[name] += len(flips) - int(smaller.sum())
    return {name: as_large[name] / tried if several and np.isfinite(seen[name][0]) else None for name in names}


def _differences(
    totals: tuple[np.ndarray, np.ndarray], moved: np.ndarray, measures: Measures, names: Sequence[str]
) -> dict[str, np.ndarray]:
    before, after = measures.of_sums(totals[0] + moved, names), measures.of_sums(totals[1] - moved, names)
    return {name: after[name] - before[name] for name in names}


def _flips(groups: int, seed: int) -> Iterator[np.ndarray]:
    """Which groups are exchanged `[flip, group]`: every choice, or FLIPS drawn ones and at first none."""
    if groups <= ALL_FLIPS:
        yield (np.arange(2**groups)[:, None] >> np.arange(groups) & 1).astype(float)
        return
    yield np.zeros((1, groups))
    generator, chunk = np.random.default_rng(seed), max(1, CHUNK // groups)
    for start in range(0, FLIPS, chunk):
        yield generator.integers(2, size=(min(chunk, FLIPS - start), groups), dtype=np.int8).astype(float)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values adjusted for their number: where nothing is real, any is below 0.05 in 5 of 100 cases at most.

    Holm 1979: the smallest times their number, the next times one less, and never below the one before. None stays.
    """
    order = sorted((i for i, p in enumerate(p_values) if p is not None), key=lambda i: p_values[i])
    adjusted_values: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, p_values[i] * (len(order) - place)))
        adjusted_values[i] = largest
    return adjusted_values


def adjusted(differences: Sequence[Difference]) -> list[Difference]:
    """The differences, each `real` only if it is so beside all the others."""
    p_values = holm([difference["p"] for difference in differences])
    return [
        difference | {"p_holm": p, "real": _is_real(p, difference["low"], difference["high"])}
        for difference, p in zip(differences, p_values, strict=True)
    ]


def _difference(
    a: float, b: float, samples: np.ndarray, groups: np.ndarray, most: float, p: float | None
) -> Difference:
    """`groups` are those of the rows that the measure counts, `most` is the largest value it can have."""
    if not len(groups) or not np.isfinite(b - a):
        return NO_DIFFERENCE
    sizes = np.unique(groups, return_counts=True)[1]
    low, high = difference_interval(b - a, samples, sizes, most)
    p = None if low is None else p
    values = {"a": a, "b": b, "difference": b - a, "low": low, "high": high}
    return {**values, "n": len(groups), "groups": len(sizes), "p": p, "p_holm": p, "real": _is_real(p, low, high)}


def surely_above(difference: Difference | None) -> bool:
    """Whether there is a difference that is real, and for the better."""
    return bool(difference and difference["real"] and difference["difference"] > 0)


def _is_real(p: float | None, low: float | None, high: float | None) -> bool:
    return p is not None and p < SURE and not low <= 0 <= high


def difference_interval(
    value: float, samples: np.ndarray, sizes: np.ndarray, most: float = 1.0
) -> tuple[float | None, float | None]:
    """The 95 % interval of a paired difference, from its resampled values and the rows of each group `[group]`.

    Of fewer than FEW groups it is Student's, where two further groups of a twentieth of the weight, one all for the
    better and one all for the worse, keep it from having no width where nothing changes.
    """
    defined = samples[np.isfinite(samples)]
    if len(sizes) < 2 or not defined.size:
        return None, None
    if len(sizes) >= FEW or np.isinf(most):
        low, high = (float(bound) for bound in np.quantile(defined, (TAIL, 1 - TAIL)))
        return min(low, value), max(high, value)
    rows, groups = float(sizes.sum()), len(sizes)
    size = float(sizes @ sizes) / rows
    enlarged, value = rows + 2 * WEIGHT * size, value / most
    middle = rows * value / enlarged
    variance = float(np.var(defined)) / most**2 * groups / (groups - 1) + (value - middle) ** 2 / groups
    variance = (rows**2 * variance + 2 * WEIGHT * size**2 * (1 + middle**2)) / enlarged**2
    half = student(groups - 1) * variance**0.5
    return max(-1.0, min(middle - half, value)) * most, min(1.0, max(middle + half, value)) * most
