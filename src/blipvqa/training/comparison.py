"""Two runs on the same rows: which differences are real, and which rows one of them does better.

Notable:
- One test is the headline, a measure that the task chose before anything was looked at; it stands by itself.
- Every other one is one of many: the other measures are adjusted for each other, and so are all slices of all columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from blipvqa.config.knobs import Config
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap
from blipvqa.numbers.comparison import adjusted, compare_counts
from blipvqa.numbers.grouping import levels
from blipvqa.numbers.measures import Measures
from blipvqa.plural import how_many

Rows = Sequence[Mapping]
Levels = Mapping[str, Mapping[str, np.ndarray]]


def levels_of(rows: Rows, columns: Sequence[str]) -> Levels:
    """The rows of every level of each column."""
    return {column: levels(row.get(column) for row in rows) for column in columns}


@dataclass(frozen=True)
class Comparing:
    """What two runs of a task are compared by."""

    measures: Measures
    counts: Callable[[Rows, Config | None], np.ndarray]  # (predictions, run a's config) -> `[row, measures.columns]`
    names: Callable[[Rows, Config | None], Iterable[str]]  # of the measures that these predictions have
    headline: str  # the one test
    by_row: str  # the measure by which one row is better in a run than in the other
    same: tuple[str, ...]  # what a row must have in common in both runs
    unit: str  # what a row is, in the plural
    levels: Callable[[Rows, Sequence[str]], Levels] = levels_of  # (predictions, columns): the slices


def compare_predictions(
    how: Comparing,
    a: Iterable[Mapping],
    b: Iterable[Mapping],
    *,
    config: Config | None = None,
    breakdown: Sequence[str] = (),
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """Every measure of run b minus that of run a, and the headline in each slice, by `numbers.comparison`.

    Returns {"overall": {name: Difference}, the headline first, "by": {column: {level: {headline: Difference}}},
    "better_a": [id], "better_b": [id], the largest difference first, "equal": the number of rows that both do equally
    well, "equal_value": what they have there, None without such rows}.

    Raises InputError where the ids differ, or what the rows of an id are about.
    """
    a, b = _paired(list(a), list(b), how.same)
    counts = how.counts(a, config), how.counts(b, config)
    groups, slices_of = bootstrap.groups_of(a), how.levels(a, breakdown)
    in_b = set(how.names(b, config))
    names = [name for name in how.names(a, config) if name in in_b]
    (overall,) = compare_counts(*counts, groups, [np.arange(len(a))], how.measures, names, bootstrap)
    slices = [rows for levels in slices_of.values() for rows in levels.values()]
    of_slices = compare_counts(*counts, groups, slices, how.measures, [how.headline], bootstrap)
    by_slice = iter(adjusted([difference[how.headline] for difference in of_slices]))
    others = [name for name in names if name != how.headline]
    return {
        "overall": {how.headline: overall[how.headline]}
        | dict(zip(others, adjusted([overall[name] for name in others]), strict=True)),
        "by": {
            column: {level: {how.headline: next(by_slice)} for level in levels} for column, levels in slices_of.items()
        },
        **_by_row(how, a, *counts),
    }


def _paired(a: list[Mapping], b: list[Mapping], same: Sequence[str]) -> tuple[list[Mapping], list[Mapping]]:
    """Run b in the order of run a, once it is sure that their rows are the same."""
    for rows in (a, b):
        repeated = [row_id for row_id, times in Counter(row.get("id") for row in rows).items() if times > 1]
        if repeated:
            raise InputError(
                f"{how_many(len(repeated), 'id stands', 'ids stand')} more than once, such as {repeated[0]!r}"
            )
    by_id = {row["id"]: row for row in b}
    ids = {row["id"] for row in a}
    if ids != by_id.keys():
        only_a, only_b = sorted(map(str, ids - by_id.keys())), sorted(map(str, by_id.keys() - ids))
        raise InputError(
            f"the runs have different rows: {len(only_a)} ids only in a {only_a[:3]}, "
            f"{len(only_b)} only in b {only_b[:3]}. Compare predictions of the same split and limit."
        )
    b = [by_id[row["id"]] for row in a]
    for one, other in zip(a, b, strict=True):
        for key in same:
            if one.get(key) != other.get(key):
                raise InputError(
                    f"{one['id']!r} has the {key} {one.get(key)!r} in a and {other.get(key)!r} in b: "
                    "the runs were scored on different data"
                )
    return a, b


def _by_row(how: Comparing, rows: Rows, counts_a: np.ndarray, counts_b: np.ndarray) -> dict:
    """Which rows one run does better; a row that the measure does not count stands nowhere."""
    one, other = (how.measures.of_sums(counts, [how.by_row])[how.by_row] for counts in (counts_a, counts_b))
    gained = other - one
    equal = np.abs(gained) < 1e-12
    order = np.argsort(-np.abs(np.nan_to_num(gained)), kind="stable")
    return {
        "better_a": [rows[i]["id"] for i in order if gained[i] < 0 and not equal[i]],
        "better_b": [rows[i]["id"] for i in order if gained[i] > 0 and not equal[i]],
        "equal": int(equal.sum()),
        "equal_value": float(one[equal].mean()) if equal.any() else None,
    }
