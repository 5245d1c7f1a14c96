"""`score`: from judged statements to numbers, with their counts, intervals and what needs no picture, or one of two.

Notable:
- Everything is computed from stored predictions. Intervals are drawn over pairs of pictures.
- What sees no picture: for each statement the label that train gives it most often, or the commonest of train; and a
  linear model of its words. The stronger one is *the* baseline, which a model that looks has to exceed.
- `looks` compares the run with itself: under another pair's pictures, and with one of the two pictures alone. A model
  that is as good then does not look, or needs no second picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

import numpy as np

from blipvqa.data.labels import LABELS
from blipvqa.numbers import blind
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate
from blipvqa.numbers.calibration import estimate_calibration_error, reliability_bins
from blipvqa.numbers.comparison import Difference, compare_counts, surely_above
from blipvqa.numbers.grouping import few_groups_notes, few_levels_notes, levels
from blipvqa.numbers.ranking import estimate_auroc
from blipvqa.pages.wording import unit
from blipvqa.pairs.measures import MEASURES, counts
from blipvqa.pairs.predictions import Prediction
from blipvqa.text import normalize

BINS = 10
BLIND = {  # what answers from words alone: its title
    "whole_statement": "commonest label by whole statement",
    "statement_words": "linear model of the statement's words",
}
ALONE = ("first_dropped", "second_dropped")  # changes that leave one picture


class Confidence(TypedDict):
    """Whether the probabilities can be believed."""

    auroc: Estimate  # a true statement has a higher one than a false one
    calibration: dict  # expected calibration error with its floor
    bins: list[dict]


class Scores(TypedDict, total=False):
    """What `score` returns and `metrics-<split>.json` holds; `evaluate` adds what else a run measured."""

    group: str  # the column that intervals are drawn over
    overall: dict[str, Estimate]  # by measure
    by: dict[str, dict[str, dict[str, Estimate]]]  # by column, level (the largest first) and measure
    baselines: dict[str, dict[str, Estimate]]  # accuracy of what sees no picture, by name (BLIND)
    baseline_name: str  # the strongest of them
    baseline: dict[str, Estimate]  # of that one
    above_baseline: Difference  # accuracy, over that one, in pairs
    changed: dict[str, Estimate]  # accuracy with other pictures, by `changes.CHANGES`
    needs_pictures: Difference  # accuracy, own pictures minus another pair's
    needs_both: Difference  # accuracy, both pictures minus the better of one alone
    confidence: Confidence
    looks: str  # the verdict
    warnings: list[str]


def score(
    predictions: Iterable[Prediction],
    *,
    train: Iterable[Mapping] | None = None,
    changed: Mapping[str, Sequence[Prediction]] | None = None,
    breakdown: Sequence[str] = (),
    bootstrap: Bootstrap = BY_IMAGE,
) -> Scores:
    """Every measure of `measures.MEASURES`, overall, by whether the order is named and by each column of `breakdown`,
    with 95 % intervals over pairs.

    `train` are the rows that the baseline learns from; `changed` the predictions with other pictures, in this order.
    Raises InputError where a prediction lacks a key, or ids repeat.
    """
    predictions = list(predictions)
    counted, groups = counts(predictions), bootstrap.groups_of(predictions)
    columns = dict.fromkeys(("order", *breakdown))
    rows_of = {column: levels(row.get(column) for row in predictions) for column in columns}
    everything = np.arange(len(predictions))
    slices = [everything, *(rows for of_column in rows_of.values() for rows in of_column.values())]
    estimates = iter(estimate(counted, groups, slices, MEASURES, MEASURES, bootstrap))
    scores: Scores = {
        "group": bootstrap.group,
        "overall": next(estimates),
        "by": {column: {level: next(estimates) for level in of_column} for column, of_column in rows_of.items()},
        "confidence": _confidence(predictions, groups, bootstrap),
    }
    if train is not None:
        scores |= _blind(predictions, counted, train, groups, bootstrap)
    if changed and predictions:
        scores |= _changed(counted, {name: counts(rows) for name, rows in changed.items()}, groups, bootstrap)
        scores["looks"] = verdict(scores)
    return scores | {"warnings": _warnings(scores, len(np.unique(groups)))}


def without_pictures(predictions: Sequence[Prediction], train: Iterable[Mapping]) -> dict[str, list[dict]]:
    """The predictions of who has seen train's statements and no picture, by name; of equally common labels "false"."""
    learnt = [(row["sentence"], [row["label"]]) for row in train]
    sentences = [row["sentence"] for row in predictions]
    said = {
        "whole_statement": blind.commonest(learnt, sentences, [normalize]),
        "statement_words": blind.by_words(learnt, sentences),
    }
    keys = ("id", "image_id", "sentence", "label")
    return {
        name: [
            {key: row[key] for key in keys} | {"prediction": label or LABELS[0]}
            for row, label in zip(predictions, labels, strict=True)
        ]
        for name, labels in said.items()
    }


def _blind(
    predictions: Sequence[Prediction],
    counted: np.ndarray,
    train: Iterable[Mapping],
    groups: np.ndarray,
    bootstrap: Bootstrap,
) -> dict:
    everything = [np.arange(len(counted))]
    blind_counts = {name: counts(rows) for name, rows in without_pictures(predictions, train).items()}
    baselines = {
        name: next(iter(estimate(of_blind, groups, everything, MEASURES, ["accuracy"], bootstrap)))
        for name, of_blind in blind_counts.items()
    }
    strongest = max(baselines, key=lambda name: baselines[name]["accuracy"]["value"] or 0.0)
    above = compare_counts(blind_counts[strongest], counted, groups, everything, MEASURES, ["accuracy"], bootstrap)
    found = {"baselines": baselines, "baseline_name": strongest, "baseline": baselines[strongest]}
    return found | {"above_baseline": next(above)["accuracy"]}


def _confidence(predictions: Sequence[Prediction], groups: np.ndarray, bootstrap: Bootstrap) -> Confidence:
    rows = [i for i, row in enumerate(predictions) if row.get("probability") is not None]
    probabilities = np.array([predictions[i]["probability"] for i in rows])
    true = np.array([predictions[i]["label"] == LABELS[1] for i in rows], float)
    of = groups[rows] if rows else np.empty(0, np.int64)
    return Confidence(
        auroc=estimate_auroc(probabilities, true, of, bootstrap),
        calibration=estimate_calibration_error(probabilities, true, of, bootstrap, BINS),
        bins=reliability_bins(probabilities, true, BINS) if rows else [],
    )


def _changed(counted: np.ndarray, changed: Mapping[str, np.ndarray], groups: np.ndarray, bootstrap: Bootstrap) -> dict:
    everything = [np.arange(len(counted))]
    accuracy = {
        name: next(iter(estimate(other, groups, everything, MEASURES, ["accuracy"], bootstrap)))["accuracy"]
        for name, other in changed.items()
    }
    better = max(ALONE, key=lambda name: accuracy[name]["value"])
    against = {"needs_both": better}
    if "both_exchanged" in changed:
        against["needs_pictures"] = "both_exchanged"
    compared = {
        key: next(compare_counts(changed[name], counted, groups, everything, MEASURES, ["accuracy"], bootstrap))
        for key, name in against.items()
    }
    return {"changed": accuracy} | {key: difference["accuracy"] for key, difference in compared.items()}


def verdict(scores: Mapping) -> str:
    """Whether it looks, in a sentence."""
    if "needs_pictures" in scores and not surely_above(scores["needs_pictures"]):
        return "It is not surely better with its own pictures than with another pair's: nothing shows that it looks."
    if not surely_above(scores["needs_both"]):
        return "It is not surely better with both pictures than with one of the two: nothing shows that it needs both."
    return "It looks at both pictures: with either one alone, and with another pair's, it is surely worse."


def _warnings(scores: Scores, groups: int) -> list[str]:
    """What a reader of the numbers should know before believing them, a line each."""
    accuracy = scores["overall"]["accuracy"]
    if not accuracy["n"]:
        return ["there are no predictions: every number is null"]
    warnings = few_groups_notes(groups, unit(scores, "pairs"))
    if "baseline" in scores and not surely_above(scores["above_baseline"]):
        value, title = scores["baseline"]["accuracy"]["value"], BLIND[scores["baseline_name"]]
        warnings.append(
            f"accuracy {accuracy['value']:.3f} is not surely above the {value:.3f} of the {title}, "
            "which sees no picture"
        )
    if "looks" in scores and not (surely_above(scores.get("needs_pictures")) and surely_above(scores["needs_both"])):
        warnings.append(scores["looks"])
    follows = scores["overall"]["follows_order"]
    if follows["value"] is not None and (follows["low"] is None or follows["low"] <= 0.5):
        warnings.append(
            "where the pictures alone change places, statements about the order are not surely judged better than by "
            f"chance ({follows['value']:.3f}): it may not tell the first picture from the second"
        )
    for column, scored in scores["by"].items():
        of_levels = {level: entry["accuracy"] for level, entry in scored.items()}
        warnings += few_levels_notes(column, of_levels, unit(scores, "pairs"))
    return warnings
