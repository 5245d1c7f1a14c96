"""Yes/no questions as a diagnostic test for "yes": AUROC, and an operating point whose threshold validation chose.

Notable:
- Predictive values depend on how common "yes" is, so the prevalence stands beside them.
- Nothing is computed where a class is missing: with no "no" there is no specificity, and no AUROC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_mean, nothing_counted
from blipvqa.numbers.ranking import estimate_auroc
from blipvqa.numbers.thresholds import threshold_for_sensitivity
from blipvqa.text import normalize
from blipvqa.vqa.answers import Prediction, is_yes_no

AS_ANSWERED = 0.5  # from this probability on, "yes" is likelier than "no"; what was answered may be another text
NO_VALIDATION = "undefined: there is no validation split beside the scored one to choose a threshold on"
MISSING = "undefined: validation has no question with the answer {}"


def score_operating_point(
    predictions: Sequence[Prediction],
    validation: Sequence[Prediction] | None,
    wished_sensitivity: float,
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """How well the probability of "yes" tells the questions whose answer is yes from those whose answer is no.

    Questions count whose reference is yes or no and whose `yes_probability` is stored. `validation` is None where there
    is none beside the scored split. Returns {"auroc": Estimate, "prevalence": Estimate of "yes", "wish", "undefined":
    why no threshold could be chosen, or None, "rows": [{"name": "chosen" or "as_answered", "threshold", "validation",
    "scored": {"sensitivity", "specificity", "ppv", "npv": Estimate}}]}.
    """
    counted = _counted(predictions)
    positive, groups = _positive(counted), bootstrap.groups_of(counted)
    chosen_on = _counted(validation or [])
    undefined = NO_VALIDATION if validation is None else _missing(_positive(chosen_on))
    threshold = None
    if not undefined:
        probabilities = [row["yes_probability"] for row in chosen_on]
        threshold = threshold_for_sensitivity(probabilities, _positive(chosen_on), wished_sensitivity)
    both = 0 < positive.sum() < len(positive)
    return {
        "auroc": estimate_auroc([row["yes_probability"] for row in counted], positive, groups, bootstrap)
        if both
        else nothing_counted(),
        "prevalence": estimate_mean(positive, groups, bootstrap),
        "wish": wished_sensitivity,
        "undefined": undefined,
        "rows": [
            {"name": name, "threshold": at}
            | {kind: _at(rows, at, bootstrap) for kind, rows in (("validation", chosen_on), ("scored", counted))}
            for name, at in (("chosen", threshold), ("as_answered", AS_ANSWERED))
        ],
    }


def _counted(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Yes/no questions with a probability of yes that is a number."""
    closed = [row for row in predictions if is_yes_no(row["answer"]) and row.get("yes_probability") is not None]
    return [row for row in closed if math.isfinite(row["yes_probability"])]


def _positive(rows: Sequence[Prediction]) -> np.ndarray:
    return np.array([normalize(row["answer"]) == "yes" for row in rows], bool)


def _missing(positive: np.ndarray) -> str | None:
    absent = [answer for answer, there in (("yes", positive.any()), ("no", (~positive).any())) if not there]
    return MISSING.format(" or ".join(absent)) if absent else None


def _at(rows: Sequence[Prediction], threshold: float | None, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """What becomes of the rows when "yes" is said from a probability of `threshold` on."""
    if threshold is None:
        rows = []
    positive, groups = _positive(rows), bootstrap.groups_of(rows)
    said = np.array([row["yes_probability"] >= (threshold or 0.0) for row in rows], bool)
    of = {
        "sensitivity": (said, positive),
        "specificity": (~said, ~positive),
        "ppv": (positive, said),
        "npv": (~positive, ~said),
    }
    return {name: estimate_mean(right, groups, bootstrap, np.flatnonzero(among)) for name, (right, among) in of.items()}


def operating_line(operating: Mapping) -> str:
    """What stands above the table, in words."""
    if operating["prevalence"]["value"] is None:
        return "There is no question whose reference is yes or no and whose probability of yes is stored."
    if operating["auroc"]["value"] is None:
        return "All these questions have one answer: nothing can be told apart."
    if operating["undefined"]:
        return f"The threshold is {operating['undefined']}."
    return (
        f"The threshold is the highest with a sensitivity of {operating['wish']:.0%} on validation. Predictive values "
        "hold for this prevalence only."
    )
