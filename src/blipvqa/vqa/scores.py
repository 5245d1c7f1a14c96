"""`score`: from predictions to numbers, with their counts, intervals, ceiling and image-blind baseline.

A number that counts no question is null with n 0, never NaN. Everything is computed from stored predictions.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypedDict

import numpy as np

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate
from blipvqa.numbers.comparison import Difference, compare_counts
from blipvqa.numbers.grouping import few_groups_notes, few_levels_notes
from blipvqa.pages.wording import share, unit
from blipvqa.text import normalize
from blipvqa.vqa.answers import Prediction, is_yes_no, spelled_answers, unfinished_notes
from blipvqa.vqa.baselines import TITLES, blind_predictions
from blipvqa.vqa.measures import MEASURES, counts, measure_names
from blipvqa.vqa.slices import axes
from blipvqa.vqa.turns import conversation


class Scores(TypedDict, total=False):
    """What `score` returns and `metrics-<split>.json` holds; `evaluate` adds what else a run measured."""

    group: str  # the column whose values intervals are drawn over: image_id, patient, …
    overall: dict[str, Estimate]  # by measure
    by: dict[str, dict[str, dict[str, Estimate]]]  # by axis, level (the largest first) and measure
    ceiling: dict[str, Estimate]  # the best that any model could reach, see `ceiling`
    baselines: dict[str, dict[str, Estimate]]  # by name (`baselines.BASELINES`) and measure; only with `train`
    baseline_name: str  # the strongest of them, by exact match
    baseline: dict[str, Estimate]  # of that one
    above_baseline: Difference  # exact match, over that one, in pairs
    warnings: list[str]


def score(
    predictions: Iterable[Prediction],
    *,
    train: Iterable[Mapping] | None = None,
    breakdown: Sequence[str] = (),
    bootstrap: Bootstrap = BY_IMAGE,
) -> Scores:
    """Every measure of `measures.MEASURES`, overall and in each slice, with 95 % intervals over images.

    A column `answer_type` (open, closed) of the predictions adds VQA-RAD's two accuracies. With the rows of `train`,
    what never sees a picture is scored, see `baselines`. The columns in `breakdown` become axes beside
    `question_type`, the question's first word. `bootstrap` says what is drawn (image, patient, slide), how often and
    from which seed.

    Raises InputError where a prediction lacks a key, ids repeat, or no prediction has a breakdown or group column.
    """
    predictions = list(predictions)
    counted, groups, names = counts(predictions), bootstrap.groups_of(predictions), measure_names(predictions)
    rows_of = axes(predictions, breakdown)
    everything = np.arange(len(predictions))
    slices = [everything, *(rows for levels in rows_of.values() for rows in levels.values())]
    estimates = iter(estimate(counted, groups, slices, MEASURES, names, bootstrap))
    scores: Scores = {
        "group": bootstrap.group,
        "overall": next(estimates),
        "by": {axis: {level: next(estimates) for level in levels} for axis, levels in rows_of.items()},
        "ceiling": ceiling(predictions),
    }
    if train is not None:
        blind = {name: counts(answered) for name, answered in blind_predictions(train, predictions).items()}
        baselines = {
            name: estimate(of_blind, groups, [everything], MEASURES, names, bootstrap)[0]
            for name, of_blind in blind.items()
        }
        strongest = max(baselines, key=lambda name: baselines[name]["exact_match"]["value"] or 0.0)
        above = compare_counts(blind[strongest], counted, groups, [everything], MEASURES, ["exact_match"], bootstrap)
        scores |= {"baselines": baselines, "baseline_name": strongest, "baseline": baselines[strongest]}
        scores["above_baseline"] = next(above)["exact_match"]
    stopped = [f"{note}: the scores are of the beginnings" for note in unfinished_notes(predictions)]
    return scores | {"warnings": _warnings(scores, len(np.unique(groups))) + stopped}


def ceiling(rows: Iterable[Mapping], same_question: Callable[[str], str] = normalize) -> dict[str, Estimate]:
    """The best score of any deterministic answerer of image and question, where one pair has several answers.

    An answerer that knew all references could give each pair but one answer, at best the one that most rows accept:
    the ceiling is the sum of those counts over the number of questions; for yes/no and open questions
    likewise over the answers of that kind. Two questions are the same if they come after the same conversation and
    `same_question` makes them equal; `normalize` merges what reaches the model as the same tokens ("what is present?"
    and "what is present ?").
    Of `exact_match`, `yes_no_accuracy` and `open_exact_match`, without intervals.
    """
    pairs: dict[tuple, list[Mapping]] = defaultdict(list)
    for row in rows:
        pairs[row["image_id"], conversation(row), same_question(row["question"])].append(row)
    kinds = {
        "exact_match": lambda answer: True,
        "yes_no_accuracy": is_yes_no,
        "open_exact_match": lambda answer: not is_yes_no(answer),
    }
    return {name: _ceiling_of(pairs.values(), counted) for name, counted in kinds.items()}


def _ceiling_of(pairs: Iterable[list[Mapping]], counted: Callable[[str], bool]) -> Estimate:
    of_kind = [[row for row in rows if counted(row["answer"])] for rows in pairs]
    n = sum(map(len, of_kind))
    times = [Counter(answer for row in rows for answer in spelled_answers(row)) for rows in of_kind]
    value = sum(max(each.values(), default=0) for each in times) / n if n else None
    return {"value": value, "n": n, "low": None, "high": None}


def _warnings(scores: Scores, groups: int) -> list[str]:
    """What a reader of the numbers should know before believing them, a line each."""
    overall, best = scores["overall"]["exact_match"], scores["ceiling"]["exact_match"]["value"]
    if not overall["n"]:
        return ["there are no predictions: every number is null"]
    warnings = few_groups_notes(groups, unit(scores))
    if best < 1:
        warnings.append(
            f"some questions are asked of the same image with different answers: no model that answers "
            f"each once exceeds {share(best, 1)} exact match (see ceiling)"
        )
    if "baseline" in scores:
        warnings += _blind_warning(scores)
    for axis, levels in scores["by"].items():
        of_levels = {level: entry["exact_match"] for level, entry in levels.items()}
        warnings += few_levels_notes(axis, of_levels, unit(scores))
    return warnings


def _blind_warning(scores: Scores) -> list[str]:
    """A line where exact match is not above the strongest baseline, or not surely so."""
    value, blind = scores["overall"]["exact_match"]["value"], scores["baseline"]["exact_match"]["value"]
    above = scores["above_baseline"]
    if above["difference"] > 0 and (above["low"] is None or above["low"] > 0):
        return []
    how = "not above" if above["difference"] <= 0 else "not surely above"
    interval = "" if above["low"] is None else f"; the difference is {above['low']:+.3f} to {above['high']:+.3f}"
    return [
        f"exact match {share(value, 1)} is {how} the {share(blind, 1)} of the {TITLES[scores['baseline_name']]}, "
        f"which sees no image{interval}"
    ]
