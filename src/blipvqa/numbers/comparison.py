"""Which differences between two matrices of counts on the same rows are real: a paired bootstrap over groups.

Both are resampled with the same groups, so what makes a group hard for both cancels (Koehn 2004, with groups
for sentences).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypedDict

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, TAIL, Bootstrap, resample
from blipvqa.numbers.measures import Measures

FEWEST_CHANGED = 6  # five changed groups, all for the better, are a coin with five heads: p = 2/2^5 = 0.06


class Difference(TypedDict):
    """One measure of two runs."""

    a: float | None  # None where the measure is undefined in either run; so are `b` and `difference`
    b: float | None
    difference: float | None  # b minus a
    low: float | None  # 95 % interval of the difference; None where there is none
    high: float | None
    n: int  # the rows that the measure counts
    real: bool  # the interval excludes 0, and the counts behind it differ in at least FEWEST_CHANGED groups


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

    Of twenty differences looked at, one may seem real by chance.
    """
    names, both, width = list(names), np.hstack([a, b]), len(measures.columns)
    for rows, sums in zip(slices, resample(both, groups, slices, bootstrap), strict=True):
        totals = both[rows].sum(axis=0)
        value_a, value_b = measures.of_sums(totals[:width], names), measures.of_sums(totals[width:], names)
        sample_a, sample_b = measures.of_sums(sums[..., :width], names), measures.of_sums(sums[..., width:], names)
        yield {
            name: _difference(
                float(value_a[name]),
                float(value_b[name]),
                sample_b[name] - sample_a[name],
                int(measures.counted_rows(name, a[rows]).sum()),
                groups[rows],
                _changed(a[rows], b[rows], measures, name),
            )
            for name in names
        }


def _changed(a: np.ndarray, b: np.ndarray, measures: Measures, name: str) -> np.ndarray:
    """The rows whose counts behind a measure differ, `[row]` of booleans."""
    columns = [measures.position(column) for column in measures[name].columns]
    return np.any(a[:, columns] != b[:, columns], axis=1)


def _difference(a: float, b: float, samples: np.ndarray, n: int, groups: np.ndarray, changed: np.ndarray) -> Difference:
    if not n or not np.isfinite(b - a):
        return {"a": None, "b": None, "difference": None, "low": None, "high": None, "n": 0, "real": False}
    entry: Difference = {"a": a, "b": b, "difference": b - a, "low": None, "high": None, "n": n, "real": False}
    defined = samples[np.isfinite(samples)]
    if len(np.unique(groups)) < 2 or not defined.size:
        return entry
    low, high = (float(bound) for bound in np.quantile(defined, (TAIL, 1 - TAIL)))
    enough = len(np.unique(groups[changed])) >= FEWEST_CHANGED
    return entry | {"low": low, "high": high, "real": bool(enough and (low > 0 or high < 0))}
