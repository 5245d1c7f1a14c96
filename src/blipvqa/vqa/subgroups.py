"""Subgroups: how much exact match differs between the levels of each breakdown column (organ, scanner, sex, site …).

Notable:
- Every two levels of a column with FEWEST_IMAGES images (or patients) each are compared; the p-values are adjusted for
  all gaps of all columns.
- A level with fewer images is named as too few. It is left out of the tests, not out of the page.
- Rows without a value are no subgroup: how many they are is said, and no gap is tested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap
from blipvqa.numbers.gaps import adjusted_gaps, gaps
from blipvqa.numbers.grouping import NO_VALUE
from blipvqa.vqa.answers import Prediction, answered_right
from blipvqa.vqa.slices import axes

FEWEST_IMAGES = 10


def score_subgroups(predictions: Sequence[Prediction], columns: Sequence[str], bootstrap: Bootstrap = BY_IMAGE) -> dict:
    """The gaps between the levels of each column.

    Returns {"fewest": FEWEST_IMAGES, "tests": how many gaps were looked at, "columns": {column: {"gaps": [Gap], the
    surest first, "too_few": [{"level", "n", "groups"}], "unknown": rows without a value}}}. A column with one level
    alone has no gap.
    """
    right = np.array([answered_right(row) for row in predictions], float)
    groups = bootstrap.groups_of(predictions)
    by_column, others = {}, {}
    for axis, levels in axes(predictions, columns).items():
        if axis == "question_type":
            continue
        unknown = len(levels.pop(NO_VALUE, ()))
        images = {level: len(np.unique(groups[rows])) for level, rows in levels.items()}
        enough = {level: rows for level, rows in levels.items() if images[level] >= FEWEST_IMAGES}
        by_column[axis] = gaps(right, groups, enough, bootstrap)
        too_few = [
            {"level": level, "n": len(rows), "groups": images[level]}
            for level, rows in levels.items()
            if level not in enough
        ]
        others[axis] = {"too_few": too_few, "unknown": unknown}
    tests = iter(adjusted_gaps([gap for column in by_column.values() for gap in column]))
    adjusted = {axis: [next(tests) for _ in column] for axis, column in by_column.items()}
    return {
        "fewest": FEWEST_IMAGES,
        "tests": sum(map(len, adjusted.values())),
        "columns": {axis: {"gaps": sorted(column, key=_surest)} | others[axis] for axis, column in adjusted.items()},
    }


def _surest(gap: Mapping) -> tuple[float, float]:
    return (1.0 if gap["p"] is None else gap["p"], -abs(gap["difference"]))
