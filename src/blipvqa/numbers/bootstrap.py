"""How sure a number is: bootstrap over images, and which differences between two runs are real.

Questions on one image share its difficulties, so they are no independent draws: PathVQA has 6,719 test
questions but 858 test images. The unit drawn with replacement is therefore the image (or the patient, or the
slide: the `group` column), with all of its questions: a cluster bootstrap (Davison and Hinkley 1997, section
3.8; Efron and Tibshirani 1993, chapter 13 for the percentile interval).

Drawing images with replacement is giving each an integer weight. Summed counts of all resamples are then one
matrix product, weights `[resamples, images]` times counts `[images, columns]`, and every slice shares the
same weights.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from blipvqa.vqa.measures import (
    COLUMNS,
    MEASURES,
    Prediction,
    axes,
    check_predictions,
    counts,
    evaluate,
    measure_names,
)

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
CHUNK = 2**22  # weights held at a time, 32 MiB: memory does not grow with resamples times images
BATCH = 64  # slices resampled at a time, each with the same weights drawn anew from the seed
FEWEST_CHANGED = 6  # five changed images, all for the better, are a coin with five heads: p = 2/2^5 = 0.06


def group_of(predictions: Sequence[Prediction], group: str = "image_id") -> np.ndarray:
    """Each question's group as a number from 0, `[question]`; a row without one belongs to its image.

    Raises:
        ValueError: no prediction has the column.
    """
    if predictions and not any(prediction.get(group) is not None for prediction in predictions):
        raise ValueError(f"no prediction has the group column {group!r}; there are {', '.join(predictions[0])}")
    numbers: dict[tuple, int] = {}
    keys = ((group, p[group]) if p.get(group) is not None else ("image_id", p["image_id"]) for p in predictions)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def bootstrap_weights(groups: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample drew each group, in chunks `[some resamples, groups]`; fixed by the seed."""
    generator = np.random.default_rng(seed)
    chunk = max(1, CHUNK // max(groups, 1))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups).astype(float)


def sum_by_group(table: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups that occur `[G]`, and the table `[question, column]` summed over each, `[G, column]`."""
    present, position = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(present), table.shape[1]))
    np.add.at(sums, position, table)
    return present, sums


def resample(
    table: np.ndarray, groups: np.ndarray, slices: Sequence[np.ndarray], resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """For each slice (row numbers of the table), its column sums in every resample, `[resample, column]`."""
    if not len(groups):
        resamples = 0
    for first in range(0, len(slices), BATCH):
        by_group = [sum_by_group(table[rows], groups[rows]) for rows in slices[first : first + BATCH]]
        sums = np.zeros((len(by_group), resamples, table.shape[1]))
        start = 0
        for weights in bootstrap_weights(int(groups.max(initial=-1)) + 1, resamples, seed):
            for of_slice, (present, grouped) in zip(sums, by_group, strict=True):
                of_slice[start : start + len(weights)] = weights[:, present] @ grouped
            start += len(weights)
        yield from sums


def interval(value: float, resampled: np.ndarray, groups: int) -> tuple[float | None, float | None]:
    """The 95 % percentile interval of a measure in [0, 1], from its resampled values.

    A bootstrap of images that all agree has no width: it would call nine right answers of nine certain. Then
    up to 1 - 0.025^(1/groups) of all images may differ and yet none be seen (Clopper and Pearson 1934, at 0
    or all right). `groups` is the number that the measure counts; from a single one, or if no resample has a
    value, there is no interval: (None, None).
    """
    found = resampled[np.isfinite(resampled)]
    if groups < 2 or not found.size or not np.isfinite(value):
        return None, None
    low, high = np.quantile(found, (TAIL, 1 - TAIL))
    if high - low < 1e-12:
        unseen = 1 - TAIL ** (1 / groups)
        low, high = max(0.0, value - unseen), min(1.0, value + unseen)
    # A skewed handful of images can leave its own value outside, and error bars have no negative length.
    return float(min(low, value)), float(max(high, value))


def estimate(
    table: np.ndarray,
    groups: np.ndarray,
    slices: Sequence[np.ndarray],
    names: Iterable[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, dict]]:
    """For each slice of the rows of `measures.counts`, each measure as {"value", "n", "low", "high"}.

    `n` is the number of questions that the measure counts. A measure that counts none, or is not defined on
    those it counts, has value None; without resamples, low and high are None.
    """
    names = list(names)
    estimates = []
    for rows, sums in zip(slices, resample(table, groups, slices, resamples, seed), strict=True):
        points, samples = evaluate(table[rows].sum(axis=0), names), evaluate(sums, names)
        estimates.append({name: _entry(name, points[name], samples[name], table[rows], groups[rows]) for name in names})
    return estimates


def _entry(name: str, point: np.ndarray, samples: np.ndarray, table: np.ndarray, groups: np.ndarray) -> dict:
    counted = table[:, COLUMNS.index(MEASURES[name].counted)] > 0
    n, value = int(counted.sum()), float(point)
    if not n or not np.isfinite(value):
        return {"value": None, "n": 0, "low": None, "high": None}
    low, high = interval(value, samples, len(np.unique(groups[counted])))
    return {"value": value, "n": n, "low": low, "high": high}


def estimate_statistic(
    table: np.ndarray,
    groups: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """{"value", "n", "low", "high"} of a statistic of column sums `[..., column]`, over some of the rows."""
    rows = np.arange(len(table)) if rows is None else rows
    if not len(rows):
        return {"value": None, "n": 0, "low": None, "high": None}
    value = float(statistic(table[rows].sum(axis=0)))
    (sums,) = resample(table, groups, [rows], resamples, seed)
    low, high = interval(value, statistic(sums), len(np.unique(groups[rows])))
    return {"value": value, "n": len(rows), "low": low, "high": high}


def estimate_mean(values: Sequence[float], groups: np.ndarray, rows: np.ndarray | None = None, **kwargs) -> dict:
    """The mean of values `[question]`, over some rows, with `estimate_statistic`."""
    table = np.stack([np.asarray(values, float), np.ones(len(values))], axis=1)

    def mean(sums: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # a resample without any of the rows: NaN, which `interval` drops
            return sums[..., 0] / sums[..., 1]

    return estimate_statistic(table, groups, mean, rows, **kwargs)


def compare_runs(
    a: Iterable[Prediction],
    b: Iterable[Prediction],
    *,
    breakdown: Sequence[str] = (),
    group: str = "image_id",
    resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """Which differences between two runs on the same questions are real: a paired bootstrap over images.

    Both runs are resampled with the same images, so what makes an image hard for both cancels (Koehn 2004,
    with images for sentences). A difference is b minus a, and `real` where its 95 % interval excludes 0 and
    the counts behind it differ on at least six images. Of twenty looked at, one may seem real by chance.

    Returns:
        {"overall": {name: {"a", "b", "difference", "low", "high", "n", "real"}},
         "by": {axis: {level: {name: {...}}}},
         "only_a": [id], "only_b": [id],              answered right by one run only
         "both_right": number, "both_wrong": number}

    Raises:
        ValueError: the ids differ, or an id's question or reference answer does.
    """
    a, b = _paired(list(a), list(b))
    both = np.hstack([counts(a), counts(b)])
    groups, found = group_of(a, group), axes(a, breakdown)
    names = [name for name in measure_names(a) if name in measure_names(b)]
    slices = [np.arange(len(a)), *(rows for levels in found.values() for rows in levels.values())]
    differences = (
        _differences(both[rows], sums, groups[rows], names)
        for rows, sums in zip(slices, resample(both, groups, slices, resamples, seed), strict=True)
    )
    return {
        "overall": next(differences),
        "by": {axis: {level: next(differences) for level in levels} for axis, levels in found.items()},
        **_answered_by_one(a, both),
    }


def _paired(a: list[Prediction], b: list[Prediction]) -> tuple[list[Prediction], list[Prediction]]:
    """Run b in the order of run a, once it is sure that both answer the same questions."""
    check_predictions(a)
    check_predictions(b)
    by_id = {prediction["id"]: prediction for prediction in b}
    ids = {prediction["id"] for prediction in a}
    if ids != by_id.keys():
        only_a, only_b = sorted(map(str, ids - by_id.keys())), sorted(map(str, by_id.keys() - ids))
        raise ValueError(
            f"the runs answered different questions: {len(only_a)} ids only in a {only_a[:3]}, "
            f"{len(only_b)} only in b {only_b[:3]}. Compare predictions of the same split and limit."
        )
    b = [by_id[prediction["id"]] for prediction in a]
    for one, other in zip(a, b, strict=True):
        for key in ("question", "answer"):
            if one[key] != other[key]:
                raise ValueError(
                    f"{one['id']!r} has the {key} {one[key]!r} in a and {other[key]!r} in b: "
                    "the runs were scored on different data"
                )
    return a, b


def _differences(both: np.ndarray, sums: np.ndarray, groups: np.ndarray, names: list[str]) -> dict[str, dict]:
    width = len(COLUMNS)
    totals = both.sum(axis=0)
    point_a, point_b = evaluate(totals[:width], names), evaluate(totals[width:], names)
    sample_a, sample_b = evaluate(sums[..., :width], names), evaluate(sums[..., width:], names)
    return {
        name: _difference(
            name, float(point_a[name]), float(point_b[name]), sample_b[name] - sample_a[name], both, groups
        )
        for name in names
    }


def _difference(name: str, a: float, b: float, samples: np.ndarray, both: np.ndarray, groups: np.ndarray) -> dict:
    n = int((both[:, COLUMNS.index(MEASURES[name].counted)] > 0).sum())
    found = samples[np.isfinite(samples)]
    entry = {"a": a, "b": b, "difference": b - a, "low": None, "high": None, "n": n, "real": False}
    if not n or not np.isfinite(b - a):
        return entry | {"a": None, "b": None, "difference": None, "n": 0}
    if len(np.unique(groups)) < 2 or not found.size:
        return entry
    low, high = (float(bound) for bound in np.quantile(found, (TAIL, 1 - TAIL)))
    columns = [COLUMNS.index(column) for column in MEASURES[name].columns]
    changed = np.any(both[:, columns] != both[:, [len(COLUMNS) + column for column in columns]], axis=1)
    enough = len(np.unique(groups[changed])) >= FEWEST_CHANGED
    return entry | {"low": low, "high": high, "real": bool(enough and (low > 0 or high < 0))}


def _answered_by_one(a: list[Prediction], both: np.ndarray) -> dict:
    right = COLUMNS.index("right")
    right_a, right_b = both[:, right] > 0, both[:, len(COLUMNS) + right] > 0

    def ids(rows: np.ndarray) -> list:
        return [prediction["id"] for prediction, chosen in zip(a, rows, strict=True) if chosen]

    return {
        "only_a": ids(right_a & ~right_b),
        "only_b": ids(right_b & ~right_a),
        "both_right": int((right_a & right_b).sum()),
        "both_wrong": int((~right_a & ~right_b).sum()),
    }
