"""Macro F1 over classes, which is no function of a few column sums: each class has counts of its own."""

from collections.abc import Sequence

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_weighted, nothing_counted


def macro_f1(actual: np.ndarray, predicted: np.ndarray, weights: np.ndarray, classes: int) -> float:
    """The mean F1 of the classes that are actual or predicted in a row of weight above 0; both are numbers from 0.

    Equal to scikit-learn's `f1_score(average="macro")`, where a class without true positives has F1 0.
    """
    right = np.bincount(actual, weights * (actual == predicted), minlength=classes)
    both = np.bincount(actual, weights, minlength=classes) + np.bincount(predicted, weights, minlength=classes)
    present = both > 0
    return float(np.mean(2 * right[present] / both[present])) if present.any() else float("nan")


def estimate_macro_f1(
    actual: Sequence[str], predicted: Sequence[str], groups: np.ndarray, bootstrap: Bootstrap = BY_IMAGE
) -> Estimate:
    """The macro F1 over all classes of `actual` and `predicted`, with its interval over groups."""
    if not len(actual):
        return nothing_counted()
    names, numbers = np.unique([*actual, *predicted], return_inverse=True)
    sides, classes = numbers.reshape(2, len(actual)), len(names)
    # a resample lacks rare classes, which are the worst, so its values lie above
    return estimate_weighted(lambda weights: macro_f1(*sides, weights, classes), groups, bootstrap, shifted=True)
