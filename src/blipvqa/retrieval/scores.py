"""`score`: from searches to numbers, with their counts, intervals, chance, and what needs the picture.

Everything is computed from stored predictions. The gallery is what they name: all their pictures and texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, NO_INTERVALS, Bootstrap, Estimate, estimate, estimate_mean
from blipvqa.numbers.calibration import estimate_calibration_error, reliability_bins
from blipvqa.numbers.comparison import Difference, compare_counts, surely_above
from blipvqa.numbers.grouping import few_groups_notes, few_levels_notes, levels
from blipvqa.numbers.ranking import estimate_auroc
from blipvqa.numbers.ranks import RECALLS, chance_columns, estimate_median, median_by_chance
from blipvqa.pages.wording import unit
from blipvqa.plural import how_many, of_all
from blipvqa.retrieval.gallery import Gallery
from blipvqa.retrieval.measures import DIRECTIONS, MEASURES, check_predictions, counts
from blipvqa.retrieval.predictions import Prediction

EASY_RECALL = 0.2  # a chance of R@10 above it is named in the warnings
MANY_SHARED = 0.1  # a larger share of texts that describe several pictures is named in the warnings
BINS = 10  # of the probability of a match


class Sizes(TypedDict):
    """What was searched."""

    pictures: int
    texts: int  # distinct ones
    shared: int  # texts that describe several pictures
    matched: NotRequired[int]  # of each search the best so many, by ITM; 0: none


class Matching(TypedDict):
    """Whether ITM tells a pair of the data from the same text with another picture; as many of one as of the other, but
    for texts that are right for both pictures."""

    auroc: Estimate
    accuracy: Estimate  # at a probability of one half
    calibration: dict  # expected calibration error with its floor
    bins: list[dict]


class Scores(TypedDict, total=False):
    """What `score` returns and `metrics-<split>.json` holds; `evaluate` adds what else a run measured."""

    group: str  # the column that intervals are drawn over
    gallery: Sizes
    overall: dict[str, Estimate]  # by measure
    by: dict[str, dict[str, dict[str, Estimate]]]  # by column, level (the largest first) and measure
    chance: dict[str, Estimate]  # a random order of the gallery
    exchanged: dict[str, Estimate]  # another picture in each picture's place
    needs_picture: Difference  # mean R both ways, own picture minus exchanged
    matched_gain: (
        Difference  # mean R both ways, with matching minus by cosine alone; where as many are matched as R asks
    )
    matching: Matching
    warnings: list[str]


def score(
    predictions: Iterable[Prediction],
    *,
    breakdown: Sequence[str] = (),
    bootstrap: Bootstrap = BY_IMAGE,
    matched: int | None = None,
) -> Scores:
    """Every measure of `measures.MEASURES` and the median ranks, overall and by each column of `breakdown`, with 95 %
    intervals over images.

    `matched` is how many of each search were matched by ITM; None where that is not known. Raises InputError where a
    prediction lacks a key, or ids repeat.
    """
    predictions = list(predictions)
    check_predictions(predictions)
    gallery, groups = Gallery.of_rows(predictions), bootstrap.groups_of(predictions)
    counted, everything = counts(predictions), np.arange(len(predictions))
    rows_of = {column: levels(row.get(column) for row in predictions) for column in breakdown}
    slices = [everything, *(rows for of_column in rows_of.values() for rows in of_column.values())]
    estimates = iter(estimate(counted, groups, slices, MEASURES, MEASURES, bootstrap))
    sizes = Sizes(
        pictures=len(gallery.picture_rows),
        texts=len(gallery.text_rows),
        shared=sum(len(pictures) > 1 for pictures in gallery.pictures_of_text),
    )
    if matched is not None:
        sizes["matched"] = matched
    scores: Scores = {
        "group": bootstrap.group,
        "gallery": sizes,
        "overall": next(estimates) | _medians(predictions, groups, "rank", bootstrap),
        "by": {column: {level: next(estimates) for level in of_column} for column, of_column in rows_of.items()},
        "chance": _chance(predictions, gallery, groups),
    }
    if sizes["pictures"] > 1:
        other = counts(predictions, "exchanged")
        (exchanged,) = estimate(other, groups, [everything], MEASURES, MEASURES, bootstrap)
        scores["exchanged"] = exchanged | _medians(predictions, groups, "exchanged", bootstrap)
        (compared,) = compare_counts(other, counted, groups, [everything], MEASURES, ["r_mean"], bootstrap)
        scores["needs_picture"] = compared["r_mean"]
    if predictions:
        if matched != 0 and not short_list_notes(sizes):
            scores["matched_gain"] = _gain(counted, groups, bootstrap)
        scores["matching"] = _matching(predictions, groups, bootstrap)
    return scores | {"warnings": _warnings(scores, len(np.unique(groups)))}


def short_list_notes(sizes: Sizes) -> list[str]:
    """A line where fewer candidates are matched than the recalls ask for: beyond them nothing can be found."""
    matched, least = sizes.get("matched", 0), min(max(RECALLS), max(sizes["pictures"], sizes["texts"]))
    if not 0 < matched < least:
        return []
    return [
        f"retrieval.rerank: of each search {matched} are matched and the others share the last place, so R@k of a "
        f"larger k is R@{matched}: compare ranks by cosine alone, or match {least} or more"
    ]


def _medians(predictions: Sequence[Prediction], groups: np.ndarray, rank: str, bootstrap: Bootstrap) -> dict:
    medians = {}
    for direction in DIRECTIONS:
        rows = np.array([i for i, row in enumerate(predictions) if row.get(direction)], np.int64)
        for name, key in ((direction, rank), (f"itc_{direction}", f"itc_{rank}")):
            ranks = np.array([predictions[i][direction][key] for i in rows])
            medians[f"{name}_median_rank"] = estimate_median(ranks, groups[rows], bootstrap)
    return medians


def _chance(predictions: Sequence[Prediction], gallery: Gallery, groups: np.ndarray) -> dict[str, Estimate]:
    """What a random order of the gallery gives: the expected counts of each search, in place of the counts."""
    right = {
        "img": np.array([len(gallery.pictures_of_text[text]) for text in gallery.text_of]),
        "txt": np.array([len(gallery.texts_of_picture[picture]) for picture in gallery.picture_of]),
    }
    sizes = {"img": len(gallery.picture_rows), "txt": len(gallery.text_rows)}
    expected = np.zeros((len(predictions), len(MEASURES.columns)))
    medians = {}
    for direction in DIRECTIONS:
        rows = np.array([i for i, row in enumerate(predictions) if row.get(direction)], np.int64)
        columns = chance_columns(direction, right[direction][rows] if len(rows) else np.empty(0), sizes[direction])
        for column, values in columns.items():
            expected[rows, MEASURES.position(column)] = values
        middle = median_by_chance(right[direction][rows], sizes[direction]) if len(rows) else None
        medians[f"{direction}_median_rank"] = Estimate(value=middle, n=len(rows), low=None, high=None)
    names = [name for name in MEASURES if not name.startswith("itc_")]
    (by_chance,) = estimate(expected, groups, [np.arange(len(predictions))], MEASURES, names, NO_INTERVALS)
    return by_chance | medians


def _gain(counted: np.ndarray, groups: np.ndarray, bootstrap: Bootstrap) -> Difference:
    """Mean R of the final order minus that of the cosines alone: the columns of the one put into those of the other."""
    by_cosine = counted.copy()
    for column in MEASURES.columns:
        if not column.startswith("itc_"):
            by_cosine[:, MEASURES.position(column)] = counted[:, MEASURES.position(f"itc_{column}")]
    everything = [np.arange(len(counted))]
    (compared,) = compare_counts(by_cosine, counted, groups, everything, MEASURES, ["r_mean"], bootstrap)
    return compared["r_mean"]


def _matching(predictions: Sequence[Prediction], groups: np.ndarray, bootstrap: Bootstrap) -> Matching:
    asked = [
        (row[key], right, group)
        for key, right in (("match", True), ("match_other", False))
        for row, group in zip(predictions, groups, strict=True)
        if row.get(key) is not None
    ]
    probabilities, right, of = (np.array(column) for column in zip(*asked, strict=True)) if asked else ([], [], [])
    probabilities, right, of = np.asarray(probabilities, float), np.asarray(right, bool), np.asarray(of, np.int64)
    says_yes = (probabilities >= 0.5) == right
    return Matching(
        auroc=estimate_auroc(probabilities, right, of, bootstrap),
        accuracy=estimate_mean(says_yes, of, bootstrap),
        calibration=estimate_calibration_error(probabilities, right.astype(float), of, bootstrap, BINS),
        bins=reliability_bins(probabilities, right, BINS) if len(probabilities) else [],
    )


def _warnings(scores: Scores, groups: int) -> list[str]:
    """What a reader of the numbers should know before believing them, a line each."""
    if not scores["overall"]["img_r1"]["n"]:
        return ["there are no predictions: every number is null"]
    warnings, sizes = few_groups_notes(groups, unit(scores, "pictures")), scores["gallery"]
    if scores["chance"]["img_r10"]["value"] > EASY_RECALL:
        warnings.append(
            f"the gallery holds {how_many(sizes['pictures'], 'picture')} only: chance alone has R@10 "
            f"{scores['chance']['img_r10']['value']:.2f}"
        )
    if sizes["shared"] > MANY_SHARED * sizes["texts"]:
        warnings.append(
            f"{of_all(sizes['shared'], sizes['texts'], 'text', 'describes', 'describe')} several pictures, each of "
            "which counts as right"
        )
    needs = scores.get("needs_picture")
    if needs and not surely_above(needs):
        warnings.append("own pictures are not surely ranked better than exchanged ones: the model may not look")
    warnings += short_list_notes(sizes)
    gain = scores.get("matched_gain")
    if gain and gain["real"] and gain["difference"] < 0:
        warnings.append(
            f"matching the best (ITM) makes the order worse than the cosine alone: mean R {gain['b']:.3f} instead of "
            f"{gain['a']:.3f}"
        )
    for column, scored in scores["by"].items():
        of_levels = {level: entry["img_r1"] for level, entry in scored.items()}
        warnings += few_levels_notes(column, of_levels, unit(scores, "pictures"))
    return warnings
