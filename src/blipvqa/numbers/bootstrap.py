"""How sure a number is: 95 % intervals, by a bootstrap over groups of rows.

Questions on one image share its difficulties, so they are no independent draws: PathVQA has 6,719 test
questions but 858 test images. The unit drawn with replacement is therefore the image (or the patient, or the
slide: the `group` column), with all of its rows: a cluster bootstrap (Davison and Hinkley 1997, section
3.8; Efron and Tibshirani 1993, chapter 13 for the percentile interval).

Drawing groups with replacement is giving each an integer weight. Summed counts of all resamples are then one
matrix product, weights `[resamples, groups]` times counts `[groups, columns]`, and every slice shares the
same weights.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from blipvqa.errors import InputError
from blipvqa.numbers.few_groups import FEW, few_groups_interval
from blipvqa.numbers.measures import Measures, divide

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
CHUNK = 2**22  # weights held at a time, 32 MiB: memory does not grow with resamples times groups
BATCH = 64  # slices resampled at a time, each with the same weights drawn anew from the seed


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn: of which groups, how often, and from which seed."""

    group: str = "image_id"  # the column whose values are drawn with replacement
    resamples: int = 1000  # 0: no intervals, low and high are None
    seed: int = 0  # the same seed gives the same intervals

    def groups_of(self, rows: Sequence[Mapping]) -> np.ndarray:
        """Each row's group as a number from 0, `[row]`; a row without one belongs to its image.

        Numbers follow the groups' names: what is drawn by number is the same in any order of the rows. Raises
        InputError where no row has the column.
        """
        if rows and not any(self.group in row for row in rows):
            raise InputError(f"no row has the group column {self.group!r}; there are {', '.join(rows[0])}")
        keys = [
            (self.group, r[self.group]) if r.get(self.group) is not None else ("image_id", r["image_id"]) for r in rows
        ]
        numbers = {
            key: number
            for number, key in enumerate(sorted(set(keys), key=lambda key: (key[0] != self.group, str(key))))
        }
        return np.array([numbers[key] for key in keys], dtype=np.int64)


BY_IMAGE = Bootstrap()
NO_INTERVALS = Bootstrap(resamples=0)


class Estimate(TypedDict):
    """A number with its interval, as it stands in `metrics-<split>.json`."""

    value: float | None  # None where it is undefined: never 0, never NaN
    n: int  # the rows it counts
    groups: NotRequired[int]  # the groups (images, patients) that these rows are of; a ceiling has none
    low: float | None  # 95 % interval; None where there is none: one group, or no resamples
    high: float | None


def nothing_counted() -> Estimate:
    """The estimate of a number that counts no row."""
    return {"value": None, "n": 0, "groups": 0, "low": None, "high": None}


def bootstrap_weights(groups: int, bootstrap: Bootstrap) -> Iterator[np.ndarray]:
    """How often each resample drew each group, in chunks `[some resamples, groups]`; fixed by the seed."""
    generator = np.random.default_rng(bootstrap.seed)
    chunk = max(1, CHUNK // max(groups, 1))
    for start in range(0, bootstrap.resamples, chunk):
        size = min(chunk, bootstrap.resamples - start)
        chosen = generator.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        yield np.bincount(chosen.ravel(), minlength=size * groups).reshape(size, groups).astype(float)


def sum_by_group(counts: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups that occur `[G]`, and the counts `[row, column]` summed over each, `[G, column]`."""
    present, position = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(present), counts.shape[1]))
    np.add.at(sums, position, counts)
    return present, sums


def resample(
    counts: np.ndarray, groups: np.ndarray, slices: Sequence[np.ndarray], bootstrap: Bootstrap
) -> Iterator[np.ndarray]:
    """For each slice (row numbers of the counts), its column sums in every resample, `[resample, column]`."""
    resamples = bootstrap.resamples if len(groups) else 0
    for first in range(0, len(slices), BATCH):
        by_group = [sum_by_group(counts[rows], groups[rows]) for rows in slices[first : first + BATCH]]
        sums = np.zeros((len(by_group), resamples, counts.shape[1]))
        start = 0
        for weights in bootstrap_weights(int(groups.max()) + 1, bootstrap) if resamples else ():
            for of_slice, (present, grouped) in zip(sums, by_group, strict=True):
                of_slice[start : start + len(weights)] = weights[:, present] @ grouped
            start += len(weights)
        yield from sums


def interval(value: float, resampled: np.ndarray, sizes: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % interval of a measure in [0, 1], from its resampled values.

    `sizes` are the rows that the measure counts in each group `[group]`. From FEW groups on it is the percentile
    interval, below that Wilson's with the resampled variance (`few_groups`); from a single group, or if no resample has
    a value, there is none: (None, None).

    A bootstrap of groups that all agree has no width: it would call nine right answers of nine certain. Then
    up to 1 - 0.025^(1/groups) of all groups may differ and yet none be seen (Clopper and Pearson 1934, at 0
    or all right).
    """
    defined = resampled[np.isfinite(resampled)]
    groups = len(sizes)
    if groups < 2 or not defined.size or not np.isfinite(value):
        return None, None
    if groups < FEW:
        return few_groups_interval(value, float(np.var(defined)), sizes)
    low, high = np.quantile(defined, (TAIL, 1 - TAIL))
    if high - low < 1e-12:
        unseen = 1 - TAIL ** (1 / groups)
        low, high = max(0.0, value - unseen), min(1.0, value + unseen)
    # A skewed handful of groups can leave its own value outside, and error bars have no negative length.
    return float(min(low, value)), float(max(high, value))


def estimate(
    counts: np.ndarray,
    groups: np.ndarray,
    slices: Sequence[np.ndarray],
    measures: Measures,
    names: Iterable[str],
    bootstrap: Bootstrap = BY_IMAGE,
) -> list[dict[str, Estimate]]:
    """The named measures of each slice (row numbers) of the counts `[row, measures.columns]`.

    `n` is the number of rows that the measure counts. A measure that counts none, or is not defined on
    those it counts, has value None.
    """
    names = list(names)
    estimates = []
    for rows, sums in zip(slices, resample(counts, groups, slices, bootstrap), strict=True):
        values, samples = measures.of_sums(counts[rows].sum(axis=0), names), measures.of_sums(sums, names)
        counted = {name: measures.counted_rows(name, counts[rows]) for name in names}
        estimates.append(
            {
                name: _entry(float(values[name]), samples[name], groups[rows][counted[name]], measures[name].most)
                for name in names
            }
        )
    return estimates


def _entry(value: float, samples: np.ndarray, groups: np.ndarray, most: float = 1.0) -> Estimate:
    """`groups` are those of the rows that the number counts, `most` is the largest value it can have."""
    if not len(groups) or not np.isfinite(value):
        return nothing_counted()
    sizes = np.unique(groups, return_counts=True)[1]
    if np.isinf(most):
        low, high = _percentiles(value, samples, len(sizes))
    else:
        low, high = interval(value / most, samples / most, sizes)
        low, high = (None, None) if low is None else (low * most, high * most)
    return {"value": value, "n": len(groups), "groups": len(sizes), "low": low, "high": high}


def _percentiles(value: float, samples: np.ndarray, groups: int) -> tuple[float | None, float | None]:
    """The percentile interval of a measure without an upper bound; none from a single group."""
    defined = samples[np.isfinite(samples)]
    if groups < 2 or not defined.size:
        return None, None
    low, high = np.quantile(defined, (TAIL, 1 - TAIL))
    return float(min(low, value)), float(max(high, value))


def estimate_statistic(
    counts: np.ndarray,
    groups: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    bootstrap: Bootstrap = BY_IMAGE,
    rows: np.ndarray | None = None,
    most: float = 1.0,
) -> Estimate:
    """A statistic of column sums `[..., column]`, over all rows of the counts or some."""
    rows = np.arange(len(counts)) if rows is None else rows
    if not len(rows):
        return nothing_counted()
    (sums,) = resample(counts, groups, [rows], bootstrap)
    return _entry(float(statistic(counts[rows].sum(axis=0))), statistic(sums), groups[rows], most)


def estimate_weighted(
    statistic: Callable[[np.ndarray], float],
    groups: np.ndarray,
    bootstrap: Bootstrap = BY_IMAGE,
    shifted: bool = False,
    most: float = 1.0,
) -> Estimate:
    """A statistic of weighted rows that is no function of column sums: of weights `[row]`, 1 each and as resampled.

    `most` is the largest value it can have. `shifted` moves the resampled values so that their mean is the value, for a
    statistic that resampling itself moves.
    """
    if not len(groups):
        return nothing_counted()
    value = float(statistic(np.ones(len(groups))))
    chunks = bootstrap_weights(int(groups.max()) + 1, bootstrap)
    samples = np.array([statistic(weights[groups]) for chunk in chunks for weights in chunk])
    if shifted and np.isfinite(samples).any():
        samples = samples - (np.nanmean(samples) - value)
    return _entry(value, samples, groups, most)


def estimate_mean(
    values: Sequence[float],
    groups: np.ndarray,
    bootstrap: Bootstrap = BY_IMAGE,
    rows: np.ndarray | None = None,
    most: float = 1.0,
) -> Estimate:
    """The mean of values `[row]`, over all rows or some; `most` is the largest value it can have."""
    counts = np.stack([np.asarray(values, float), np.ones(len(values))], axis=1)
    # A resample without any of the rows is NaN, which `interval` leaves out.
    return estimate_statistic(counts, groups, lambda sums: divide(sums[..., 0], sums[..., 1]), bootstrap, rows, most)
