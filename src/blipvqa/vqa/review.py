"""A pathologist's verdict: predictions out to a spreadsheet, verdicts back as expert-accepted accuracy.

Exact match counts a synonym as wrong ("heart attack" for "myocardial infarction"); an expert does not. What a sheet
survives stands in `pages/verdicts.py`.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_mean, nothing_counted
from blipvqa.pages.spreadsheets import guard
from blipvqa.pages.verdicts import DRAWN, Sheet, mark_of_strata, read_sheet, sheet_verdicts, write_sheet
from blipvqa.vqa.answers import Prediction, actual_answer, answered_right, check_predictions
from blipvqa.vqa.readers import (
    NO_STRATUM,
    OTHER_STRATA,
    other_strata,
    strata_by_id,
    stratified_sample,
    weighted_mean,
)
from blipvqa.vqa.turns import conversation

COLUMNS = ("id", "image", "question", "answer", "prediction", "verdict")
TURNS = "conversation"  # the turns before a question, where one has any
UNFINISHED = "unfinished"  # beside a prediction, where one stops at `generate.max_new_tokens`
WEIGHT = "weight"  # of a stratified sample's sheet: how many answers a row stands for
JUDGED = ("question", "answer", "prediction")  # what a verdict is about: if one changes, it is no longer valid
VERDICTS = {
    "correct": "means the same as a right answer to this image and question",
    "partly": "right but incomplete, or right with something wrong beside it",
    "incorrect": "wrong",
    "unclear": "cannot be judged from this image and question; not counted",
}


def write_review(
    predictions: Iterable[Prediction],
    folder: str | Path,
    split: str = "test",
    *,
    images: Mapping[object, str] | None = None,
    sample: int | None = None,
    seed: int = 0,
    stratified: bool = False,
    reader: int = 1,
) -> Path:
    """Write `review-<split>.csv`: a row a question, with an empty column for the verdict, one of VERDICTS.

    Verdicts of an existing file are carried over where question, answer and prediction are still the same.
    `images` names the image file of each `image_id`, as the reviewer will find it; without it, the id itself stands
    there. `sample` takes only so many questions, drawn at random from `seed`, in the order of the predictions;
    `stratified`, as many wrong, right and uncertain answers as each other, with a column `weight` (`readers`), and one
    that marks all strata. A second `reader` gets a sheet of the same questions, `review-<split>-2.csv`, when called
    with the same arguments.

    Returns the file's path. Raises VerdictsError where a verdict in the file would be lost; then nothing is written.
    """
    predictions = list(predictions)
    check_predictions(predictions)
    weights: dict[int, float] = {}
    if stratified:
        weights = stratified_sample(predictions, sample or len(predictions), seed)
        mark = mark_of_strata(strata_by_id(predictions))
        predictions = [predictions[i] for i in weights]
    elif sample is not None and sample < len(predictions):
        chosen = sorted(random.Random(seed).sample(range(len(predictions)), sample))
        predictions = [predictions[i] for i in chosen]
    rows = [_row(prediction, images or {}) for prediction in predictions]
    for row, weight in zip(rows, weights.values(), strict=False):
        row |= {WEIGHT: f"{weight:.6g}", DRAWN: mark}
    turns = [TURNS] if any(map(conversation, predictions)) else []
    if turns:
        rows = [row | {TURNS: guard(conversation(one))} for row, one in zip(rows, predictions, strict=True)]
    cut = [UNFINISHED] if any(one.get("unfinished") for one in predictions) else []
    if cut:
        told = ["cut off at its limit" if one.get("unfinished") else "" for one in predictions]
        rows = [row | {UNFINISHED: cell} for row, cell in zip(rows, told, strict=True)]
    columns = [*COLUMNS[:2], *turns, *COLUMNS[2:-1], *cut, COLUMNS[-1], *([WEIGHT, DRAWN] if stratified else [])]
    return write_sheet(review_file(folder, split, reader), columns, rows, JUDGED)


def review_file(folder: str | Path, split: str, reader: int = 1) -> Path:
    """A reader's sheet; the first has no number."""
    return Path(folder) / f"review-{split}{f'-{reader}' if reader > 1 else ''}.csv"


def _row(prediction: Prediction, images: Mapping[object, str]) -> dict[str, str]:
    image = images.get(prediction["image_id"], prediction["image_id"])
    judged = {key: prediction[key] for key in JUDGED} | {"answer": actual_answer(prediction)}
    cells = {"id": prediction["id"], "image": image, **judged}
    return {key: guard(str(cell)) for key, cell in cells.items()} | {"verdict": ""}


def read_review(
    path: str | Path,
    predictions: Iterable[Prediction],
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """How many of the reviewed answers the expert accepts, with 95 % intervals over images.

    Rows without a verdict and rows removed from the file are pending; `unclear` is not counted. A stratified sample's
    verdicts are weighted, so that they speak of all predictions. Returns
    {"group": what intervals are drawn over, "expert_accuracy": entry of the verdict correct,
    "expert_accuracy_with_partly": of correct or partly, "exact_match": of the same questions, "verdicts": {verdict:
    number}, "pending": number of predictions without one,
    "undefined": why nothing speaks of all predictions, or None, "accepted_not_exact": ids of synonyms,
    "exact_not_accepted": ids of doubtful references}.

    Raises InputError, naming the sheet's row, where a verdict is none of VERDICTS or is of another question, answer
    or prediction, where an id is missing, unknown or there twice, and where the file has no such columns.
    """
    predictions = list(predictions)
    check_predictions(predictions)
    sheet = read_sheet(path)
    verdicts = verdicts_of(sheet, {str(prediction["id"]): prediction for prediction in predictions})
    judged = [p for p in predictions if verdicts.get(str(p["id"]), "unclear") != "unclear"]
    verdict_of = [verdicts[str(prediction["id"])] for prediction in judged]
    exact = [answered_right(prediction) for prediction in judged]
    stratified, others = is_stratified(sheet), other_strata(sheet, predictions)
    places = [i for i, p in enumerate(predictions) if verdicts.get(str(p["id"]), "unclear") != "unclear"]

    def mean(values: list) -> Estimate:
        if others:
            return nothing_counted()
        if stratified:
            return weighted_mean(values, places, predictions, bootstrap)
        return estimate_mean(values, bootstrap.groups_of(judged), bootstrap)

    answers = list(zip(judged, verdict_of, exact, strict=True))
    counted = Counter(verdicts.values())
    accepted = mean([verdict == "correct" for verdict in verdict_of])
    return {
        "group": bootstrap.group,
        "expert_accuracy": accepted,
        "expert_accuracy_with_partly": mean([v in ("correct", "partly") for v in verdict_of]),
        "exact_match": mean(exact),
        "verdicts": {verdict: counted[verdict] for verdict in VERDICTS},
        "pending": len(predictions) - len(verdicts),
        "undefined": (OTHER_STRATA if others else NO_STRATUM) if judged and accepted["value"] is None else None,
        "accepted_not_exact": [p["id"] for p, verdict, same in answers if verdict == "correct" and not same],
        "exact_not_accepted": [p["id"] for p, verdict, same in answers if verdict != "correct" and same],
    }


def is_stratified(sheet: Sheet) -> bool:
    """Whether a sheet is of a stratified sample."""
    return any(WEIGHT in row for _, row in sheet.rows)


def verdicts_of(sheet: Sheet, by_id: Mapping[str, Prediction]) -> dict[str, str]:
    """The verdict on each id that has one, once every row is sure to be about one of the predictions."""
    cases = {row_id: {**prediction, "answer": actual_answer(prediction)} for row_id, prediction in by_id.items()}
    return sheet_verdicts(sheet, cases, VERDICTS, JUDGED)
