"""How far a vector lies from those of a sample, in the sample's own spread: Mahalanobis' distance.

The covariance is shrunk towards its mean variance (by SHRINKAGE), so that a sample of fewer vectors than dimensions has
a distance too (Ledoit and Wolf 2004 choose the amount; here it is fixed).
"""

from __future__ import annotations

import math

import numpy as np

SHRINKAGE = 0.01


def fit_spread(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean `[D]` of vectors `[N,D]`, and the matrix `[D,D]` after which their covariance is about 1."""
    vectors = np.asarray(vectors, float)
    mean = vectors.mean(0)
    covariance = (vectors - mean).T @ (vectors - mean) / max(len(vectors) - 1, 1)
    size = max(np.trace(covariance) / len(covariance), 1e-12)
    covariance = covariance + SHRINKAGE * size * np.eye(len(covariance))
    return mean, np.linalg.inv(np.linalg.cholesky(covariance)).T


def distances(vectors: np.ndarray, mean: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    """`[N]` for vectors `[N,D]`."""
    return np.linalg.norm((np.asarray(vectors, float) - mean) @ whitening, axis=1)


def usual_rank(count: int, passes: float) -> int:
    """Which of `count` sorted distances is the threshold, from 1: a further one of their kind passes with the chance
    `passes` or more, where they are enough to say so; of fewer it is the largest."""
    return min(count, math.ceil((count + 1) * passes - 1e-9))


def most_by_chance(pictures: int, count: int, passes: float) -> int:
    """How many of `pictures` may lie beyond such a threshold though they are of the same kind: 97.5 % of draws have no
    more.

    A threshold that is a rank among `count` is drawn itself: the number beyond it is beta-binomial (Wilks 1941).
    """
    below = usual_rank(count, passes)
    above = count + 1 - below  # expected beyond it: above / (count + 1) of all
    total, log_beta = 0.0, _log_beta(above, below)
    for beyond in range(pictures + 1):
        ways = -math.log(pictures + 1) - _log_beta(beyond + 1, pictures - beyond + 1)
        total += math.exp(ways + _log_beta(beyond + above, pictures - beyond + below) - log_beta)
        if total >= 0.975:
            return beyond
    return pictures


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
