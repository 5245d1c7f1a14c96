"""Split-conformal prediction over groups of rows: how unlikely an answer may be and still belong to the set.

Rows of a group (an image, a patient) are alike, so not rows but groups are exchangeable. Every calibration group then
has the same weight, shared by its rows, and a group that was not seen has the same weight again, at infinity: the
threshold covers a row, drawn from a new group, at least as often as the level says (Lee, Barber and Willett 2023,
"Distribution-free inference with hierarchical data", section 3; Vovk et al. 2005 with groups of one row).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def conformal_threshold(scores: Sequence[float], groups: np.ndarray, level: float) -> float:
    """The smallest score that covers; infinite where nothing finite does.

    `scores [row]` say how ill the right answer fits (infinite where it is no candidate), `groups [row]` are numbers.
    """
    scores = np.asarray(scores, float)
    _, position, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / (len(sizes) + 1) / sizes[position] if len(scores) else np.zeros(0)
    order = np.argsort(scores, kind="stable")
    # rounding of sums must not ask for one more row than (groups + 1) * level does
    enough = np.flatnonzero(np.cumsum(weights[order]) >= level - 1e-9)
    return float(scores[order[enough[0]]]) if len(enough) else math.inf


def fewest_groups(level: float) -> int:
    """How many calibration groups a finite threshold takes: (n + 1) * (1 - level) must be 1 or more."""
    return math.ceil(1 / (1 - level) - 1 - 1e-9)
