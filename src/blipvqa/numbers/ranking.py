"""How well a score puts right before wrong: AUROC, as a function of weighted rows."""

from collections.abc import Sequence

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_weighted


def auroc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The chance that a positive row scores above a negative one, ties counting half; 0.5 says nothing of them.

    The area under the receiver operating characteristic (Hanley and McNeil 1982). NaN without rows of both kinds.
    """
    weights = np.ones(len(scores)) if weights is None else weights
    _, level = np.unique(scores, return_inverse=True)
    above, below = np.bincount(level, weights * positive), np.bincount(level, weights * (1 - positive))
    pairs = above.sum() * below.sum()
    beaten = np.cumsum(below) - below / 2
    return float(above @ beaten / pairs) if pairs else float("nan")


def estimate_auroc(
    scores: Sequence[float], positive: Sequence[bool], groups: np.ndarray, bootstrap: Bootstrap = BY_IMAGE
) -> Estimate:
    """The AUROC with its interval over groups."""
    scores, positive = np.asarray(scores, float), np.asarray(positive, float)
    return estimate_weighted(lambda weights: auroc(scores, positive, weights), groups, bootstrap)
