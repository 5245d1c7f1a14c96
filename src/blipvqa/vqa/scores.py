"""`score`: from predictions to numbers, with their counts, intervals, ceiling and image-blind baseline.

    answers       when two answers are the same
    measures      what is counted of each question, and each measure from the counts
    uncertainty   intervals, by drawing images with replacement
    metrics       (here) the numbers that a run reports, in one JSON-ready dict

A number that counts no question is null with n 0, never NaN. Everything is computed from stored predictions.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from blipvqa.numbers.bootstrap import estimate, group_of
from blipvqa.text import is_yes_no, normalize, question_type
from blipvqa.vqa.measures import Prediction, axes, counts, measure_names

FEW_QUESTIONS = 10  # a level with fewer is named in the warnings
FEW_GROUPS = 30  # with fewer images, percentile intervals come out too narrow


def score(
    predictions: Iterable[Prediction],
    *,
    train: Iterable[Mapping] | None = None,
    breakdown: Sequence[str] = (),
    group: str = "image_id",
    resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """Every measure of `measures.MEASURES`, overall and in each slice, with 95 % intervals over images.

    Args:
        predictions: dicts with `id`, `image_id`, `question`, `answer`, `prediction`, and columns for
            `breakdown` and `group`. A column `answer_type` (open, closed) adds VQA-RAD's two accuracies.
        train: rows with `question` and `answer`, to score the majority answer per question type as baseline.
        breakdown: columns that become axes beside `question_type`, the question's first word.
        group: the column whose values are drawn with replacement: the image, or a patient or slide.
        resamples: bootstrap samples; 0 leaves low and high null.
        seed: of the bootstrap; the same seed gives the same intervals.

    Returns:
        {"overall": {name: {"value", "n", "low", "high"}},  shares from 0 to 1, n the questions counted
         "by": {axis: {level: {name: {...}}}},              the largest level first
         "ceiling": {name: {...}},                          the best that any model could reach, see `ceiling`
         "baseline": {name: {...}},                         only if `train` is given
         "warnings": [text]}

    Raises:
        ValueError: a prediction lacks a key, ids repeat, or no prediction has the breakdown or group column.
    """
    predictions = list(predictions)
    table, groups, names = counts(predictions), group_of(predictions, group), measure_names(predictions)
    found = axes(predictions, breakdown)
    slices = [np.arange(len(predictions)), *(rows for levels in found.values() for rows in levels.values())]
    estimates = iter(estimate(table, groups, slices, names, resamples=resamples, seed=seed))
    scores = {
        "overall": next(estimates),
        "by": {axis: {level: next(estimates) for level in levels} for axis, levels in found.items()},
        "ceiling": ceiling(predictions),
    }
    if train is not None:
        answered = majority_baseline(train, predictions)
        blind = estimate(counts(answered), groups, slices[:1], names, resamples=resamples, seed=seed)
        scores["baseline"] = blind[0]
    return scores | {"warnings": _warnings(scores, len(np.unique(groups)), group)}


def majority_baseline(train: Iterable[Mapping], rows: Iterable[Mapping]) -> list[dict]:
    """The baseline that sees no image: the commonest answer in train to the question's type, as predictions.

    A question type that train lacks takes the commonest answer of all; of equally common answers, the first
    in alphabetical order. Answers are told apart by `normalize` and given as they were first spelled.

    Returns:
        The rows as predictions: `prediction` set, `score` and `yes_probability` None. Without train rows, "".
    """
    answers: dict[str | None, Counter[str]] = defaultdict(Counter)
    spelled: dict[str, str] = {}
    for row in train:
        answer = normalize(row["answer"])
        spelled.setdefault(answer, row["answer"])
        answers[question_type(row["question"])][answer] += 1
        answers[None][answer] += 1  # over all question types
    commonest = {kind: spelled[min(given, key=lambda a: (-given[a], a))] for kind, given in answers.items()}
    unseen = commonest.get(None, "")
    silent = {"score": None, "yes_probability": None}
    return [{**row, **silent, "prediction": commonest.get(question_type(row["question"]), unseen)} for row in rows]


def ceiling(rows: Iterable[Mapping], same_question: Callable[[str], str] = normalize) -> dict[str, dict]:
    """The best score of any deterministic answerer of image and question, where one pair has several answers.

    An answerer that knew all references could give each pair but one answer, at best the pair's commonest:
    the ceiling is the sum of those counts over the number of questions; for yes/no and open questions
    likewise over the answers of that kind. Two questions are the same if `same_question` makes them equal;
    `normalize` merges what reaches the model as the same tokens ("what is present?" and "what is present ?").

    Returns:
        `exact_match`, `yes_no_accuracy`, `open_exact_match`, as {"value", "n", "low": None, "high": None}.
    """
    pairs: dict[tuple, Counter[str]] = defaultdict(Counter)
    for row in rows:
        pairs[row["image_id"], same_question(row["question"])][normalize(row["answer"])] += 1
    kinds = {
        "exact_match": lambda answer: True,
        "yes_no_accuracy": is_yes_no,
        "open_exact_match": lambda answer: not is_yes_no(answer),
    }
    return {name: _ceiling_of(pairs.values(), counted) for name, counted in kinds.items()}


def _ceiling_of(pairs: Iterable[Counter[str]], counted: Callable[[str], bool]) -> dict:
    given = [[n for answer, n in answers.items() if counted(answer)] for answers in pairs]
    n = sum(map(sum, given))
    value = sum(max(each, default=0) for each in given) / n if n else None
    return {"value": value, "n": n, "low": None, "high": None}


def _warnings(scores: dict, groups: int, group: str) -> list[str]:
    """What a reader of the numbers should know before believing them, a line each."""
    overall, best = scores["overall"]["exact_match"], scores["ceiling"]["exact_match"]["value"]
    if not overall["n"]:
        return ["there are no predictions: every number is null"]
    warnings = []
    if groups < FEW_GROUPS:
        unit = "images" if group == "image_id" else f"values of {group}"
        warnings.append(f"the intervals rest on {groups} {unit} only: they are rough, and rather too narrow")
    if best < 1:
        warnings.append(
            f"some questions are asked of the same image with different answers: no model that answers "
            f"each once exceeds {best:.1%} exact match (see ceiling)"
        )
    if "baseline" in scores and overall["value"] <= (blind := scores["baseline"]["exact_match"]["value"]):
        warnings.append(
            f"exact match {overall['value']:.1%} is not above the {blind:.1%} of the majority answer per "
            "question type, which sees no image"
        )
    for axis, levels in scores["by"].items():
        sizes = {level: entry["exact_match"]["n"] for level, entry in levels.items()}
        few = [f"{level} ({n})" for level, n in sizes.items() if n < FEW_QUESTIONS]
        if few:
            shown = ", ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
            warnings.append(f"{axis}: fewer than {FEW_QUESTIONS} questions in {shown}: examples, no facts")
    return warnings
