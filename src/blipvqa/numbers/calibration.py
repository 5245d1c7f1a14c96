"""Whether a stated probability can be believed: expected calibration error, and the fit that repairs it.

A probability c becomes sigmoid(logit(c) / T + b). With b = 0 that is temperature scaling (Guo et al. 2017) of
two logits, with b Platt's scaling (1999). 1/T and b are fitted by maximum likelihood, under normal priors of
width 1 around 1 and 0: few or perfectly separated ones change little. T is positive, so order is kept.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import BY_IMAGE, TAIL, Bootstrap, estimate_statistic, resample, sum_by_group
from blipvqa.numbers.measures import divide

BINS = 15  # as in Guo et al. 2017
CLIP = 1e-6  # keeps the log-odds of a rounded 0 or 1 finite
HIGHEST_TEMPERATURE = 20.0  # beyond, confidence says nothing; below 0, it would say the opposite


def fit(confidences: Sequence[float], right: Sequence[bool], *, with_offset: bool) -> dict:
    """The likeliest {"temperature", "offset", "n"}, from whether each of n statements was right; JSON-ready."""
    log_odds, right = _log_odds(np.asarray(confidences, float)), np.asarray(right, float)
    ones, zeros = np.ones_like(log_odds), np.zeros_like(log_odds)
    features = np.stack([log_odds, ones] if with_offset else [log_odds], axis=1)
    slope, *offset = _logistic_regression(features, zeros, right, prior=[1.0, 0.0][: features.shape[1]])
    if slope < 1 / HIGHEST_TEMPERATURE:
        slope = 1 / HIGHEST_TEMPERATURE
        offset = _logistic_regression(ones[:, None], slope * log_odds, right, prior=[0.0]) if with_offset else []
    return {"temperature": float(1 / slope), "offset": float(sum(offset)), "n": len(right)}


def _logistic_regression(
    features: np.ndarray, fixed: np.ndarray, right: np.ndarray, prior: Sequence[float]
) -> np.ndarray:
    """The weights `[feature]` that make `features @ weights + fixed` the most likely log-odds of `right`.

    Newton's method, each step halved until it helps; the normal prior makes the loss strictly convex.
    """

    def loss(weights: np.ndarray) -> float:
        log_odds = features @ weights + fixed
        return float(np.sum(np.logaddexp(0, log_odds) - right * log_odds) + np.sum((weights - prior) ** 2) / 2)

    weights = np.array(prior)
    for _ in range(50):
        chance = _sigmoid(features @ weights + fixed)
        gradient = features.T @ (chance - right) + weights - prior
        hessian = features.T @ (features * (chance * (1 - chance))[:, None]) + np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        while np.abs(step).max() > 1e-9 and loss(weights - step) > loss(weights):
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def calibrate(confidence: float, fitted: Mapping) -> float:
    """The confidence as `fit` corrects it."""
    return float(_sigmoid(_log_odds(confidence) / fitted["temperature"] + fitted["offset"]))


def reliability_bins(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> list[dict]:
    """Statements by confidence, in `bins` intervals (low, high] of equal width, 0 in the first.

    A list of {"low", "high", "n", "confidence", "accuracy"}; the last two are means, and None where n is 0.
    """
    sums = count_bins(np.asarray(confidences, float), np.asarray(right, float), bins).sum(axis=0)
    n, confident, correct = sums.reshape(3, bins)
    return [
        {
            "low": i / bins,
            "high": (i + 1) / bins,
            "n": int(n[i]),
            "confidence": float(confident[i] / n[i]) if n[i] else None,
            "accuracy": float(correct[i] / n[i]) if n[i] else None,
        }
        for i in range(bins)
    ]


def count_bins(confidences: np.ndarray, right: np.ndarray, bins: int) -> np.ndarray:
    """For each statement the columns n, confidence, right of its bin, `[statement, 3 * bins]`."""
    if not np.all((confidences >= 0) & (confidences <= 1)):
        raise InputError(f"a confidence lies in [0, 1], found {confidences.min()} to {confidences.max()}")
    counts = np.zeros((len(confidences), 3, bins))
    of = np.clip(np.ceil(confidences * bins).astype(int) - 1, 0, bins - 1)
    counts[np.arange(len(of)), :, of] = np.stack([np.ones_like(confidences), confidences, right], axis=1)
    return counts.reshape(len(counts), 3 * bins)


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """The ECE of column sums `[..., 3 * bins]` of `count_bins`, `[...]`; NaN where they count nothing."""
    n, confident, correct = np.split(sums, 3, axis=-1)
    return divide(np.abs(correct - confident).sum(axis=-1), n.sum(axis=-1))


def estimate_calibration_error(
    confidences: np.ndarray, right: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap = BY_IMAGE, bins: int = BINS
) -> dict:
    """The ECE with an interval that covers the true one, and `floor`: what noise alone would show.

    Even a perfectly calibrated model of this size has an ECE above 0, because each bin's accuracy is off by chance.
    `floor` is the mean of that: the gap of each group to its bins' means, with its sign drawn anew (a wild bootstrap;
    Wu 1986). The measured error exceeds the true one as a resampled one exceeds the measured one, which a reflected
    interval allows for (basic bootstrap; Davison and Hinkley 1997, section 5.2). The interval is that one and the
    percentile interval together; it begins at 0 where noise alone shows such an error 2.5 times in a hundred.
    """
    counts = count_bins(confidences, right, bins)
    entry = estimate_statistic(counts, groups, calibration_error, bootstrap)
    value, floor = entry["value"], None
    if value is not None and entry["low"] is not None:
        (sums,) = resample(counts, groups, [np.arange(len(counts))], bootstrap)
        low, high = np.quantile(calibration_error(sums), (TAIL, 1 - TAIL))
        noise = _noise(counts, groups, bootstrap, bins)
        floor = float(noise.mean())
        above_noise = value > np.quantile(noise, 1 - TAIL)
        entry["low"] = float(max(0.0, min(low, 2 * value - high))) if above_noise else 0.0
        entry["high"] = float(min(1.0, max(high, 2 * value - low)))
    return {**entry, "floor": floor}


def _noise(counts: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap, bins: int) -> np.ndarray:
    """The ECE `[resample]` of perfectly calibrated rows whose gaps repeat each other in groups as these do."""
    n, confident, correct = np.split(counts, 3, axis=1)
    mean_gap = divide((correct - confident).sum(axis=0), n.sum(axis=0))
    _, by_group = sum_by_group(correct - confident - n * np.nan_to_num(mean_gap), groups)
    inside = (sum_by_group(n, groups)[1] > 0).sum(axis=0)  # groups in each bin; their mean takes one degree of freedom
    by_group *= np.sqrt(inside / np.maximum(inside - 1, 1))
    signs = np.random.default_rng(bootstrap.seed).choice([-1.0, 1.0], size=(bootstrap.resamples, len(by_group)))
    return np.abs(signs @ by_group).sum(axis=1) / len(counts)


def _log_odds(probability: np.ndarray | float) -> np.ndarray:
    clipped = np.clip(probability, CLIP, 1 - CLIP)
    return np.log(clipped) - np.log1p(-clipped)


def _sigmoid(log_odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-log_odds))
