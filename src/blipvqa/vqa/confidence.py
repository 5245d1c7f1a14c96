"""How sure the model says it is, whether that can be believed, and what it gains to stay silent when unsure.

A prediction's confidence is the probability that the model gave to its own answer: for "yes" and "no" that of
this word against the other (`yes_probability`), for any other text that of the whole token sequence,
exp(`score`). It depends on the prediction alone, never on the reference.

Confidence is calibrated (`calibration`) on validation predictions, each kind by itself:

- yes/no by a temperature alone, which leaves 0.5 at 0.5;
- sequences by a temperature and an offset. A temperature alone pulls towards 0.5, which is as wrong as before
  for an answer that is one of thousands and right one time in five; full temperature scaling would need the
  logits of every token, which are not stored.

Within a kind the order stays the same; between the two it may change, and with it the most certain answers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import (
    BY_IMAGE,
    Bootstrap,
    Estimate,
    estimate_mean,
    estimate_weighted,
)
from blipvqa.numbers.calibration import calibrate, estimate_calibration_error, fit, reliability_bins
from blipvqa.numbers.ranking import estimate_auroc
from blipvqa.text import normalize
from blipvqa.vqa.answers import Prediction, answered_right, check_predictions, is_yes_no

UNCERTAIN = "uncertain"
COVERAGES = (0.2, 0.4, 0.6, 0.8, 1.0)


def confidence(prediction: Prediction, calibration: Mapping | None = None) -> float | None:
    """The probability of the prediction's own answer, between 0 and 1; None where none was stored.

    `calibration` is what `fit_temperature` returned; without it, it is the model's own probability.
    """
    value = _own_probability(prediction)
    if value is None or calibration is None:
        return value
    return calibrate(value, calibration[_kind(prediction)])


def _kind(prediction: Prediction) -> str:
    has_probability = prediction.get("yes_probability") is not None
    return "yes_no" if has_probability and is_yes_no(prediction["prediction"]) else "sequence"


def _own_probability(prediction: Prediction) -> float | None:
    if _kind(prediction) == "yes_no":
        yes = float(prediction["yes_probability"])
        value = yes if normalize(prediction["prediction"]) == "yes" else 1 - yes
    else:
        score = prediction.get("score")
        value = math.nan if score is None else math.exp(min(float(score), 0.0))
    return None if math.isnan(value) else value


def fit_temperature(validation: Iterable[Prediction]) -> dict[str, dict]:
    """Temperature and offset for each kind of confidence; give it validation predictions, never test ones.

    Returns {"yes_no": {"temperature", "offset", "n"}, "sequence": {...}}, JSON-ready. n is the number of
    predictions fitted on; with 0 of them the temperature is 1 and the offset 0.
    """
    by_kind: dict[str, list[tuple[float, bool]]] = {"yes_no": [], "sequence": []}
    for prediction in validation:
        if (value := confidence(prediction)) is not None:
            right = answered_right(prediction)
            by_kind[_kind(prediction)].append((value, right))
    return {kind: fit(*np.reshape(pairs, (-1, 2)).T, with_offset=kind == "sequence") for kind, pairs in by_kind.items()}


def risk_coverage(confidences: Sequence[float], right: Sequence[bool]) -> dict:
    """Accuracy among the most certain k of n predictions, for every k (El-Yaniv and Wiener 2010).

    Equally certain predictions come in no order, so each counts with the accuracy of them all. Returns
    {"coverage": [k / n], "accuracy": [...], "aurc": ...}: AURC is the mean of 1 - accuracy over all k
    (Geifman et al. 2019), 0 at best; None without predictions.
    """
    ordered = _by_certainty(*_tied(confidences, right), np.ones(len(confidences)))
    answered = np.arange(1, len(ordered) + 1)
    accuracy = np.cumsum(ordered) / answered
    if not len(ordered):
        return {"coverage": [], "accuracy": [], "aurc": None}
    return {
        "coverage": (answered / len(ordered)).tolist(),
        "accuracy": accuracy.tolist(),
        "aurc": _mean_risk(ordered),
    }


def _tied(confidences: Sequence[float], right: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Which predictions are equally certain, by a number that grows as certainty falls, and whether each is right."""
    _, level = np.unique(-np.asarray(confidences, float), return_inverse=True)
    return level, np.asarray(right, float)


def _by_certainty(level: np.ndarray, right: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`right` from certain to uncertain, of each prediction as often as it weighs, averaged over equal confidences."""
    n, correct = np.bincount(level, weights), np.bincount(level, weights * right)
    present = n > 0
    return np.repeat(correct[present] / n[present], n[present].astype(int))


def _answered(coverage: float, n: int) -> int:
    """How many of n answers are so large a share, at least one."""
    return max(1, math.ceil(coverage * n - 1e-9))  # 0.6 * 5 is 3, not 3.0000000000000004 rounded up


def with_confidence(
    predictions: Iterable[Prediction], threshold: float | None, calibration: Mapping | None = None
) -> list[dict]:
    """The predictions with their `confidence`, and `withheld: true` where it is below the threshold, or unknown.

    What is withheld is not changed: every score is of all questions. A threshold of None withholds all of them. Raises
    InputError where it is not between 0 and 1.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"a confidence threshold lies between 0 and 1, found {threshold}")
    marked = []
    for prediction in predictions:
        certainty = confidence(prediction, calibration)
        marked.append({**prediction, "confidence": certainty})
        if threshold is None or (certainty or 0.0) < threshold:
            marked[-1]["withheld"] = True
    return marked


def abstain(
    predictions: Iterable[Prediction], threshold: float | None, calibration: Mapping | None = None
) -> list[dict]:
    """The same for a person who asked: "uncertain" in place of what is withheld, which stands under `withheld`."""
    return [
        {**row, "prediction": UNCERTAIN, "withheld": row["prediction"]} | _whole(row) if row.get("withheld") else row
        for row in with_confidence(predictions, threshold, calibration)
    ]


def _whole(row: Mapping) -> dict:
    """What is said in place of an answer is not cut, whatever the answer is."""
    return {"unfinished": False} if "unfinished" in row else {}


def score_confidence(
    predictions: Iterable[Prediction],
    *,
    calibration: Mapping | None = None,
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """Everything about confidence that a run reports, with 95 % intervals over images (the bootstrap's group).

    With a `calibration` (see `fit_temperature`), coverage goes by calibrated confidence.

    Returns {"n": predictions with a confidence, "without": those that have none and are left out,
    "calibration": as it came in,
    "before", "after": {"ece": {"value", "n", "groups", "low", "high", "floor"}, "brier": {...}, "bins": [...]},
    "auroc": how well confidence tells right from wrong, "aurc": {...},
    "risk_coverage": {"coverage": [...], "accuracy": [...]},  at most 200 points
    "at_coverage": [{"coverage", "threshold", "value", "n", "low", "high"}]}; value is the accuracy.
    """
    predictions = list(predictions)
    check_predictions(predictions)
    stated = [prediction for prediction in predictions if confidence(prediction) is not None]
    own = np.array([confidence(prediction) for prediction in stated], float)
    used = np.array([confidence(prediction, calibration) for prediction in stated], float)
    right = np.array([answered_right(prediction) for prediction in stated], float)
    sampling = (bootstrap.groups_of(stated), bootstrap)
    curve = risk_coverage(used, right)
    return {
        "n": len(stated),
        "without": len(predictions) - len(stated),
        "calibration": calibration,
        "before": _calibration_errors(own, right, *sampling),
        "after": None if calibration is None else _calibration_errors(used, right, *sampling),
        "auroc": estimate_auroc(used, right, *sampling),
        "aurc": _aurc(used, right, *sampling),
        "risk_coverage": {key: _thinned(curve[key]) for key in ("coverage", "accuracy")},
        "at_coverage": [_accuracy_above(lowest, used, right, *sampling) for lowest in _thresholds(used)],
    }


def _thresholds(confidences: np.ndarray) -> list[float]:
    """The confidence of the least certain prediction answered at each of COVERAGES."""
    ordered = np.sort(confidences)[::-1]
    return [float(ordered[_answered(share, len(ordered)) - 1]) for share in COVERAGES if len(ordered)]


def _accuracy_above(
    threshold: float, confidences: np.ndarray, right: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap
) -> dict:
    """The accuracy of the predictions at least so certain; ties with the threshold are all answered."""
    chosen = np.flatnonzero(confidences >= threshold)
    coverage = len(chosen) / len(right) if len(right) else None
    return {"coverage": coverage, "threshold": threshold, **estimate_mean(right, groups, bootstrap, chosen)}


def _calibration_errors(confidences: np.ndarray, right: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap) -> dict:
    return {
        "ece": estimate_calibration_error(confidences, right, groups, bootstrap),
        "brier": estimate_mean((confidences - right) ** 2, groups, bootstrap),  # Brier 1950
        "bins": reliability_bins(confidences, right),
    }


def _aurc(confidences: np.ndarray, right: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    """AURC is no function of sums: each resample walks through its ordered predictions."""
    tied = _tied(confidences, right)
    return estimate_weighted(lambda weights: _mean_risk(_by_certainty(*tied, weights)), groups, bootstrap)


def _mean_risk(ordered: np.ndarray) -> float:
    return float(np.mean(1 - np.cumsum(ordered) / np.arange(1, len(ordered) + 1)))


def _thinned(values: list[float], points: int = 200) -> list[float]:
    if len(values) <= points:
        return values
    return [values[i] for i in np.linspace(0, len(values) - 1, points).round().astype(int)]
