"""Many shares beside each other: each drawn towards the mean of all, by as much as chance makes it differ.

The lowest of many shares is low by its own failing and by bad luck. What remains without the luck is the empirical
Bayes estimate under a normal spread of the true shares (Efron and Morris 1973), whose variance is estimated from how
much the shares differ beyond their own variances (DerSimonian and Laird 1986).
"""

from collections.abc import Sequence

import numpy as np

WIDTH = 2 * 1.96  # standard errors in a 95 % interval


def shrunk(values: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> list[float]:
    """The values, each with its 95 % interval, drawn towards their weighted mean; at most within [0, 1]."""
    values = np.asarray(values, float)
    variances = np.maximum((np.asarray(highs, float) - np.asarray(lows, float)) / WIDTH, 1e-6) ** 2
    weights = 1 / variances
    mean = weights @ values / weights.sum()
    beyond = weights @ (values - mean) ** 2 - (len(values) - 1)
    scale = weights.sum() - (weights @ weights) / weights.sum()
    spread = max(0.0, beyond / scale) if scale > 0 else 0.0
    weights = 1 / (variances + spread)
    mean = weights @ values / weights.sum()
    return [float(value) for value in np.clip(mean + spread / (spread + variances) * (values - mean), 0, 1)]
