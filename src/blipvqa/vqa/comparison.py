"""Two runs on the same questions: which differences are real, and what only one of them answers right.

Notable:
- One test is the headline, exact match over all questions, chosen before anything was looked at; it stands by itself.
- Every other one is one of many: the other measures are adjusted for each other, and so are all slices of all axes.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap
from blipvqa.numbers.comparison import adjusted, compare_counts
from blipvqa.vqa.answers import Prediction, check_predictions
from blipvqa.vqa.measures import MEASURES, counts, measure_names
from blipvqa.vqa.slices import axes

HEADLINE_TEST = "exact_match"


def compare_runs(
    a: Iterable[Prediction],
    b: Iterable[Prediction],
    *,
    breakdown: Sequence[str] = (),
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """Every measure of run b minus that of run a, and exact match in each slice, by `numbers.comparison`.

    Returns {"overall": {name: Difference}, the headline test first, "by": {axis: {level: {"exact_match": Difference}}},
    "only_a": [id], "only_b": [id], which one run alone answers right,
    "both_right": number, "both_wrong": number}.

    Raises InputError where the ids differ, or an id's question or reference answer does.
    """
    a, b = _paired(list(a), list(b))
    counts_a, counts_b = counts(a), counts(b)
    groups, rows_of = bootstrap.groups_of(a), axes(a, breakdown)
    names = [name for name in measure_names(a) if name in measure_names(b)]
    both = (counts_a, counts_b, groups)
    (overall,) = compare_counts(*both, [np.arange(len(a))], MEASURES, names, bootstrap)
    slices = [rows for levels in rows_of.values() for rows in levels.values()]
    of_slices = compare_counts(*both, slices, MEASURES, [HEADLINE_TEST], bootstrap)
    by_slice = iter(adjusted([difference[HEADLINE_TEST] for difference in of_slices]))
    others = [name for name in names if name != HEADLINE_TEST]
    return {
        "overall": {HEADLINE_TEST: overall[HEADLINE_TEST]}
        | dict(zip(others, adjusted([overall[name] for name in others]), strict=True)),
        "by": {axis: {level: {HEADLINE_TEST: next(by_slice)} for level in levels} for axis, levels in rows_of.items()},
        **_answered_by_one(a, counts_a, counts_b),
    }


def _paired(a: list[Prediction], b: list[Prediction]) -> tuple[list[Prediction], list[Prediction]]:
    """Run b in the order of run a, once it is sure that both answer the same questions."""
    check_predictions(a)
    check_predictions(b)
    by_id = {prediction["id"]: prediction for prediction in b}
    ids = {prediction["id"] for prediction in a}
    if ids != by_id.keys():
        only_a, only_b = sorted(map(str, ids - by_id.keys())), sorted(map(str, by_id.keys() - ids))
        raise InputError(
            f"the runs answered different questions: {len(only_a)} ids only in a {only_a[:3]}, "
            f"{len(only_b)} only in b {only_b[:3]}. Compare predictions of the same split and limit."
        )
    b = [by_id[prediction["id"]] for prediction in a]
    for one, other in zip(a, b, strict=True):
        for key in ("question", "answer"):
            if one[key] != other[key]:
                raise InputError(
                    f"{one['id']!r} has the {key} {one[key]!r} in a and {other[key]!r} in b: "
                    "the runs were scored on different data"
                )
    return a, b


def _answered_by_one(a: list[Prediction], counts_a: np.ndarray, counts_b: np.ndarray) -> dict:
    right = MEASURES.position("right")
    right_a, right_b = counts_a[:, right] > 0, counts_b[:, right] > 0

    def ids(rows: np.ndarray) -> list:
        return [prediction["id"] for prediction, chosen in zip(a, rows, strict=True) if chosen]

    return {
        "only_a": ids(right_a & ~right_b),
        "only_b": ids(right_b & ~right_a),
        "both_right": int((right_a & right_b).sum()),
        "both_wrong": int((~right_a & ~right_b).sum()),
    }
