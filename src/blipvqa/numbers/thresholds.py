"""Thresholds that are chosen on one set of rows, for a wish, and tested on another.

Notable:
- Chosen and tested on the same rows a threshold flatters itself: it takes the luck of these rows with it.
- Nothing is read off a handful of rows: of the three surest answers all are right in most models.
"""

from collections.abc import Sequence

import numpy as np

FEWEST = 10  # rows above a threshold


def accuracy_frontier(scores: Sequence[float], right: Sequence[bool]) -> list[list[float]]:
    """`[threshold, accuracy above it]`, from the lowest threshold up, each with a higher accuracy than all before.

    It holds the lowest threshold for any wish (`threshold_for`). A row is above a threshold that equals its score.
    """
    thresholds, level = np.unique(np.asarray(scores, float), return_inverse=True)
    rows, correct = (np.bincount(level, weights)[::-1].cumsum()[::-1] for weights in (None, np.asarray(right, float)))
    frontier: list[list[float]] = []
    for threshold, n, of_these in zip(thresholds, rows, correct, strict=True):
        if n >= FEWEST and (not frontier or of_these / n > frontier[-1][1]):
            frontier.append([float(threshold), float(of_these / n)])
    return frontier


def threshold_for(frontier: Sequence[Sequence[float]], wish: float) -> float | None:
    """The lowest threshold with at least the wished accuracy above it; None where none has it."""
    return next((threshold for threshold, accuracy in frontier if accuracy >= wish), None)


def threshold_for_sensitivity(scores: Sequence[float], positive: Sequence[bool], wish: float) -> float | None:
    """The highest threshold that at least the wished share of positive rows reaches; None without a positive row."""
    reached = np.sort(np.asarray(scores, float)[np.asarray(positive, bool)])[::-1]
    if not len(reached):
        return None
    return float(reached[max(0, int(np.ceil(wish * len(reached) - 1e-9)) - 1)])
