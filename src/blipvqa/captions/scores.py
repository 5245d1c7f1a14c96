"""`score`: from described pictures to numbers, with their counts, intervals and what needs no picture.

Everything is computed from stored predictions. What needs no picture: the commonest caption of train, and the same
captions under other pictures, which needs no model either: a caption follows from its picture alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

import numpy as np

from blipvqa.captions.measures import MEASURES, counts, measure_names
from blipvqa.captions.predictions import Prediction
from blipvqa.captions.terms import NO_TERMS, Terms
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate
from blipvqa.numbers.comparison import Difference, compare_counts, surely_above
from blipvqa.numbers.grouping import few_groups_notes, few_levels_notes, levels
from blipvqa.pages.wording import share, unit
from blipvqa.plural import of_all
from blipvqa.text import normalize

FEW_CAPTIONS = 0.1  # a smaller share of distinct captions is named in the warnings


class Scores(TypedDict, total=False):
    """What `score` returns and `metrics-<split>.json` holds; `evaluate` adds what else a run measured."""

    group: str  # the column that intervals are drawn over
    overall: dict[str, Estimate]  # by measure
    by: dict[str, dict[str, dict[str, Estimate]]]  # by column, level (the largest first) and measure
    baseline: dict[str, Estimate]  # the commonest caption of train, for every picture
    baseline_caption: str
    above_baseline: Difference  # CIDEr-D, the model's captions minus that one
    nearest: dict[str, Estimate]  # the caption of train's nearest picture, for each picture
    above_nearest: Difference  # CIDEr-D, the model's captions minus those
    exchanged: dict[str, Estimate]  # every caption scored as that of another picture
    needs_picture: Difference  # CIDEr-D, own picture minus exchanged
    warnings: list[str]


def score(
    predictions: Iterable[Prediction],
    *,
    train: Iterable[Mapping] | None = None,
    breakdown: Sequence[str] = (),
    terms: Terms = NO_TERMS,
    bootstrap: Bootstrap = BY_IMAGE,
    seed: int = 0,
    nearest: Mapping[str, str] | None = None,
) -> Scores:
    """Every measure of `measures.MEASURES`, overall and by each column of `breakdown`, with 95 % intervals over images.

    With the rows of `train`, their commonest caption is scored as baseline; with `nearest`, by image id the caption of
    train's nearest picture, those captions too. Raises InputError where a prediction lacks
    a key, or ids repeat.
    """
    predictions = list(predictions)
    counted, groups, names = counts(predictions, terms), bootstrap.groups_of(predictions), measure_names(terms)
    rows_of = {column: levels(row.get(column) for row in predictions) for column in breakdown}
    everything = np.arange(len(predictions))
    slices = [everything, *(rows for of_column in rows_of.values() for rows in of_column.values())]
    estimates = iter(estimate(counted, groups, slices, MEASURES, names, bootstrap))
    scores: Scores = {
        "group": bootstrap.group,
        "overall": next(estimates),
        "by": {column: {level: next(estimates) for level in of_column} for column, of_column in rows_of.items()},
    }
    if train is not None:
        scores["baseline_caption"] = commonest_caption(train)
        blind = counts([{**row, "prediction": scores["baseline_caption"]} for row in predictions], terms)
        (scores["baseline"],) = estimate(blind, groups, [everything], MEASURES, names, bootstrap)
        (compared,) = compare_counts(blind, counted, groups, [everything], MEASURES, ["cider_d"], bootstrap)
        scores["above_baseline"] = compared["cider_d"]
    if nearest is not None and predictions:
        near = counts([{**row, "prediction": nearest[row["image_id"]]} for row in predictions], terms)
        (scores["nearest"],) = estimate(near, groups, [everything], MEASURES, names, bootstrap)
        (compared,) = compare_counts(near, counted, groups, [everything], MEASURES, ["cider_d"], bootstrap)
        scores["above_nearest"] = compared["cider_d"]
    if len({prediction["image_id"] for prediction in predictions}) > 1:
        other = counts(exchanged(predictions, seed), terms)
        (scores["exchanged"],) = estimate(other, groups, [everything], MEASURES, names, bootstrap)
        (compared,) = compare_counts(other, counted, groups, [everything], MEASURES, ["cider_d"], bootstrap)
        scores["needs_picture"] = compared["cider_d"]
    return scores | {"warnings": _warnings(scores, len(np.unique(groups))) + _unfinished(predictions)}


def commonest_caption(train: Iterable[Mapping]) -> str:
    """The caption that train has most often, as it was first written; of equally common ones the first by alphabet."""
    spelled: dict[str, str] = {}
    times: Counter[str] = Counter()
    for row in train:
        caption = normalize(row["caption"])
        spelled.setdefault(caption, row["caption"])
        times[caption] += 1
    return spelled[min(times, key=lambda caption: (-times[caption], caption))] if times else ""


def exchanged(predictions: Sequence[Prediction], seed: int) -> list[Prediction]:
    """The same references, each with the caption of another picture; every caption is used once."""
    order = sorted(range(len(predictions)), key=lambda i: predictions[i]["image_id"])
    random.Random(f"{seed}/exchange").shuffle(order)
    other = dict(zip(order, order[1:] + order[:1], strict=True))
    return [{**row, "prediction": predictions[other[i]]["prediction"]} for i, row in enumerate(predictions)]


def _unfinished(predictions: Sequence[Prediction]) -> list[str]:
    """A line where captions stop at the limit of what is written; an older version did not keep which."""
    count = sum(prediction.get("unfinished", False) for prediction in predictions)
    if not count:
        return []
    return [
        f"{of_all(count, len(predictions), 'caption', 'stops', 'stop')} at caption.max_length, before the model ended "
        "them: the scores are of the beginnings. Raise it, and evaluate again"
    ]


def _warnings(scores: Scores, groups: int) -> list[str]:
    """What a reader of the numbers should know before believing them, a line each."""
    overall = scores["overall"]
    if not overall["words"]["n"]:
        return ["there are no predictions: every number is null"]
    warnings = few_groups_notes(groups, unit(scores, "pictures"))
    value = overall["cider_d"]["value"]
    if value is None:
        warnings.append(
            "CIDEr-D is not defined: it weighs words by how few pictures' references hold them, and here all pictures' "
            "hold the same"
        )
    recalled = overall.get("terms_recalled")
    if recalled and not recalled["n"]:
        warnings.append(
            "no reference names any of the terms (caption.terms): whether captions name what is there is not measured"
        )
    others = {
        "baseline": "the commonest caption of train, which sees no picture",
        "nearest": "the captions of train's nearest pictures, which are found and not written",
    }
    warnings += [
        f"CIDEr-D {value:.3f} is not surely above the {scores[name]['cider_d']['value']:.3f} of {what}"
        for name, what in others.items()
        if value is not None and name in scores and not surely_above(scores[f"above_{name}"])
    ]
    needs = scores.get("needs_picture")
    if value is not None and needs and not surely_above(needs):
        warnings.append(
            "the captions do not fit their own pictures surely better than other pictures: the model may not look"
        )
    distinct = overall["distinct_captions"]["value"]
    if distinct is not None and distinct < FEW_CAPTIONS:
        warnings.append(f"few captions are different ones ({share(distinct, 1)} of all): the model repeats itself")
    for column, scored in scores["by"].items():
        of_levels = {level: entry["words"] for level, entry in scored.items()}
        warnings += few_levels_notes(column, of_levels, unit(scores, "pictures"))
    return warnings
