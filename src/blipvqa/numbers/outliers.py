"""How far a vector lies from those of a sample, in the sample's own spread: Mahalanobis' distance.

The covariance is shrunk towards its mean variance (by SHRINKAGE), so that a sample of fewer vectors than dimensions has
a distance too (Ledoit and Wolf 2004 choose the amount; here it is fixed).
"""

from __future__ import annotations

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
