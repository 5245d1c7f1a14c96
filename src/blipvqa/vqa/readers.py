"""Two readers of the same answers: how far they agree, and a sample of answers whose verdicts lead back to all.

Notable:
- Cohen's kappa (Cohen 1960) over the rows that both judged, `unclear` a verdict as the others; null where it is
  undefined: no row in common, or one verdict alone. Of a stratified sample it is that of all predictions.
- A stratified sample takes as many wrong, right and uncertain answers as each other. A stratum follows from the
  prediction, so rows may be sorted or removed: what was judged of a stratum stands for all of it, as long as each
  answer is in the stratum that it was drawn from.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_statistic, nothing_counted
from blipvqa.numbers.measures import divide
from blipvqa.pages.verdicts import Sheet, drawn_otherwise, read_sheet
from blipvqa.pages.wording import count, interval, number
from blipvqa.vqa.answers import Prediction, answered_right

STRATA = ("wrong", "right", "uncertain")
LEAST_SURE = 0.25  # of all answers: these are "uncertain"
NONE_OF_BOTH = "no answer has a verdict of both"
ONE_VERDICT = "both gave one verdict alone"
OTHER_STRATA = (
    "the sample was drawn when other answers were right, wrong or uncertain, so its weights are of another population"
)
NO_STRATUM = "of a stratum of the sample no answer was judged, so nothing leads back to all answers"


def strata_of(predictions: Sequence[Prediction]) -> list[str]:
    """The stratum of each prediction: uncertain where its confidence is in the lowest quarter, else right or wrong."""
    confidences = [row["confidence"] for row in predictions if row.get("confidence") is not None]
    least = float(np.quantile(confidences, LEAST_SURE)) if confidences else -1.0

    def stratum(row: Prediction) -> str:
        if row.get("confidence") is not None and row["confidence"] < least:
            return "uncertain"
        return "right" if answered_right(row) else "wrong"

    return [stratum(row) for row in predictions]


def other_strata(sheet: Sheet, predictions: Sequence[Prediction]) -> bool:
    """Whether a sheet was drawn when the strata were others, since confidences or right answers changed."""
    return drawn_otherwise(sheet, strata_by_id(predictions))


def strata_by_id(predictions: Sequence[Prediction]) -> dict[str, str]:
    """What each prediction's id has as its stratum."""
    return {str(row["id"]): own for row, own in zip(predictions, strata_of(predictions), strict=True)}


def stratified_sample(predictions: Sequence[Prediction], sample: int, seed: int) -> dict[int, float]:
    """{position: weight} of `sample` predictions, as equally over the strata as they allow, in order; a weight is how
    many predictions of its stratum one stands for."""
    strata, generator = strata_of(predictions), random.Random(f"{seed}/strata")
    places = {name: [i for i, own in enumerate(strata) if own == name] for name in STRATA}
    left, taken = min(sample, len(predictions)), dict.fromkeys(STRATA, 0)
    while left:
        open_strata = [name for name in STRATA if taken[name] < len(places[name])]
        for name in open_strata[:left]:
            taken[name] += 1
        left -= min(left, len(open_strata))
    chosen = {
        i: len(places[name]) / taken[name] for name in STRATA for i in generator.sample(places[name], taken[name])
    }
    return dict(sorted(chosen.items()))


def weights_of(judged: Sequence[int], predictions: Sequence[Prediction]) -> np.ndarray | None:
    """How many predictions of its stratum each of the `judged` positions stands for; None where a stratum has
    predictions and none of them was judged."""
    strata = strata_of(predictions)
    size, seen = Counter(strata), Counter(strata[i] for i in judged)
    if not len(judged) or any(name not in seen for name in size):
        return None
    return np.array([size[strata[i]] / seen[strata[i]] for i in judged])


def weighted_mean(
    values: Sequence[float], judged: Sequence[int], predictions: Sequence[Prediction], bootstrap: Bootstrap
) -> Estimate:
    """The mean over all predictions of `values`, one for each of the `judged` positions, by strata.

    Null where a stratum has predictions and none of them was judged: nothing leads back to it.
    """
    groups = bootstrap.groups_of([predictions[i] for i in judged])
    return _mean(values, weights_of(judged, predictions), groups, bootstrap)


def _mean(values: Sequence[float], weights: np.ndarray | None, groups: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    if weights is None:
        return nothing_counted()
    counts = np.stack([weights * np.asarray(values, float), weights], axis=1)
    return estimate_statistic(counts, groups, lambda sums: divide(sums[..., 0], sums[..., 1]), bootstrap)


def agreement(
    first: str | Path, second: str | Path, predictions: Iterable[Prediction], bootstrap: Bootstrap = BY_IMAGE
) -> dict:
    """How far two sheets agree: {"kappa", "agreement": estimates over images, "both", "only_first", "only_second": rows
    that both or one alone judged, "undefined": why there is no kappa, or None, "disagreements": [{"id", "question",
    "answer", "prediction", "first", "second"}]}.

    The verdicts on a stratified sample are weighted, as `read_review` weights them.

    Raises InputError as `read_review` for a sheet that cannot be read, or is about other predictions.
    """
    from blipvqa.vqa.review import VERDICTS, is_stratified, verdicts_of

    predictions = list(predictions)
    by_id = {str(row["id"]): row for row in predictions}
    sheets = read_sheet(first), read_sheet(second)
    one, other = (verdicts_of(sheet, by_id) for sheet in sheets)
    judged = [i for i, row in enumerate(predictions) if str(row["id"]) in one and str(row["id"]) in other]
    both = [predictions[i] for i in judged]
    pairs = [(one[str(row["id"])], other[str(row["id"])]) for row in both]
    groups, weights = bootstrap.groups_of(both), np.ones(len(both))
    others = any(other_strata(sheet, predictions) for sheet in sheets)
    if any(map(is_stratified, sheets)):
        weights = None if others else weights_of(judged, predictions)
    found = nothing_counted() if weights is None else kappa(pairs, tuple(VERDICTS), groups, bootstrap, weights)
    undefined = None
    if found["value"] is None:
        unweighted = OTHER_STRATA if others else NO_STRATUM
        undefined = ONE_VERDICT if weights is not None and pairs else unweighted if pairs else NONE_OF_BOTH
    return {
        "kappa": found,
        "agreement": _mean([a == b for a, b in pairs], weights, groups, bootstrap),
        "both": len(both),
        "undefined": undefined,
        "only_first": len(one) - len(both),
        "only_second": len(other) - len(both),
        "disagreements": [_told(row, a, b) for row, (a, b) in zip(both, pairs, strict=True) if a != b],
    }


def agreement_line(agreed: Mapping) -> str:
    """How far two readers agree (`agreement`), in words."""
    kappa, same = agreed["kappa"], agreed["agreement"]
    judged = count(same if same["n"] else {"n": agreed["both"]})
    said = [f"Two readers both judged {judged} answer{'s' * (agreed['both'] != 1)}."]
    if same["value"] is not None:
        said.append(f"They gave the same verdict on {number(same)} ({interval(same)}).")
    if agreed["undefined"]:
        said.append(f"Cohen's kappa is undefined: {agreed['undefined']}.")
    else:
        said.append(f"Cohen's kappa is {number(kappa)} ({interval(kappa)}).")
    return " ".join(said)


def _told(row: Prediction, first: str, second: str) -> dict:
    return {key: row[key] for key in ("id", "question", "answer", "prediction")} | {"first": first, "second": second}


def kappa(
    pairs: Sequence[tuple[str, str]],
    categories: Sequence[str],
    groups: np.ndarray,
    bootstrap: Bootstrap = BY_IMAGE,
    weights: np.ndarray | None = None,
) -> Estimate:
    """Cohen's kappa of pairs of verdicts, which stand for `weights` rows each, with its interval over groups."""
    if not pairs:
        return nothing_counted()
    weights = np.ones(len(pairs)) if weights is None else weights
    width = len(categories)
    table = np.zeros((len(pairs), width * width))
    for row, ((a, b), weight) in enumerate(zip(pairs, weights, strict=True)):
        table[row, categories.index(a) * width + categories.index(b)] = weight

    def statistic(sums: np.ndarray) -> np.ndarray:
        counts = sums.reshape(*sums.shape[:-1], width, width)
        n = counts.sum((-1, -2))
        observed = divide(np.trace(counts, axis1=-2, axis2=-1), n)
        expected = divide((counts.sum(-1) * counts.sum(-2)).sum(-1), n * n)
        return (1 + divide(observed - expected, 1 - expected)) / 2  # from -1 to 1 onto 0 to 1, as intervals want it

    entry = estimate_statistic(table, groups, statistic, bootstrap)
    return entry | {key: None if entry[key] is None else 2 * entry[key] - 1 for key in ("value", "low", "high")}


def disagreements_rows(found: Mapping) -> list[tuple[str, ...]]:
    """The disagreements as rows of a table."""
    return [tuple(str(row[key]) for key in row) for row in found["disagreements"]]
