"""A pathologist's verdict: predictions out to a spreadsheet, verdicts back as expert-accepted accuracy.

Exact match counts a synonym as wrong ("heart attack" for "myocardial infarction"); an expert does not. The
file opens in Excel, LibreOffice and Numbers, and comes back however they saved it: with semicolons, in
another order, with columns added or rows removed. Rows are known by their `id` alone.
"""

import codecs
import csv
import io
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from blipvqa.data.dataset import VQADataset
from blipvqa.errors import InputError, UserError
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate_mean
from blipvqa.pages.spreadsheets import SEPARATORS, guard, unguard
from blipvqa.runs.files import replacing
from blipvqa.text import same_text
from blipvqa.vqa.answers import Prediction, actual_answer, answered_right, check_predictions
from blipvqa.vqa.readers import stratified_sample, weighted_mean

COLUMNS = ("id", "image", "question", "answer", "prediction", "verdict")
WEIGHT = "weight"  # of a stratified sample's sheet: how many answers a row stands for
JUDGED = ("question", "answer", "prediction")  # what a verdict is about: if one changes, it is no longer valid
VERDICTS = {
    "correct": "means the same as a right answer to this image and question",
    "partly": "right but incomplete, or right with something wrong beside it",
    "incorrect": "wrong",
    "unclear": "cannot be judged from this image and question; not counted",
}

APOSTROPHES = re.compile(f"(?:\\A|(?<=[ {SEPARATORS}]))'+")  # of the guard, or a text's own at the same place


class VerdictsError(UserError, FileExistsError):
    """Writing the sheet would lose what an expert wrote into it."""


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
    `stratified`, as many wrong, right and uncertain answers as each other, with a column `weight` (`readers`). A second
    `reader` gets a sheet of the same questions, `review-<split>-2.csv`, when called with the same arguments.
    Returns the file's path. Raises VerdictsError where a verdict in the file would be lost; then nothing is written.
    """
    predictions = list(predictions)
    check_predictions(predictions)
    weights: dict[int, float] = {}
    if stratified:
        weights = stratified_sample(predictions, sample or len(predictions), seed)
        predictions = [predictions[i] for i in weights]
    elif sample is not None and sample < len(predictions):
        chosen = sorted(random.Random(seed).sample(range(len(predictions)), sample))
        predictions = [predictions[i] for i in chosen]
    rows = [_row(prediction, images or {}) for prediction in predictions]
    for row, weight in zip(rows, weights.values(), strict=False):
        row[WEIGHT] = f"{weight:.6g}"
    path = review_file(folder, split, reader)
    if path.exists():
        _carry_over(path, rows)
    # utf-8-sig: without its mark Excel takes the file for ANSI
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, [*COLUMNS, WEIGHT] if stratified else COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def review_file(folder: str | Path, split: str, reader: int = 1) -> Path:
    """A reader's sheet; the first has no number."""
    return Path(folder) / f"review-{split}{f'-{reader}' if reader > 1 else ''}.csv"


def save_pictures(dataset: VQADataset, folder: str | Path, split: str = "test", side: int = 1024) -> dict[str, str]:
    """Write each of a split's pictures to `folder/review-<split>/`, at most `side` pixels, as JPEG without metadata.

    Returns the file of each image_id, from `folder`: what `write_review` takes as `images`.
    """
    place = Path(folder) / f"review-{split}"
    place.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for i, row in enumerate(dataset.rows):
        if row["image_id"] not in files:
            name = f"{len(files) + 1:05d}.jpg"
            files[row["image_id"]] = f"{place.name}/{name}"
            image = dataset.image(i)
            image.thumbnail((side, side))
            with replacing(place / name, durable=False) as beside:  # can be made again
                image.save(beside, "JPEG", quality=90)
    return files


def _row(prediction: Prediction, images: Mapping[object, str]) -> dict[str, str]:
    image = images.get(prediction["image_id"], prediction["image_id"])
    judged = {key: prediction[key] for key in JUDGED} | {"answer": actual_answer(prediction)}
    cells = {"id": prediction["id"], "image": image, **judged}
    return {key: guard(str(cell)) for key, cell in cells.items()} | {"verdict": ""}


def _carry_over(path: Path, rows: list[dict[str, str]]) -> None:
    """Put the file's verdicts into the rows they were given on; VerdictsError if one would be lost."""
    rows_by_id = {unguard(row["id"]): row for row in rows}
    lost = []
    for _, reviewed in _read(path):
        row = rows_by_id.get(reviewed["id"], {})
        if reviewed["verdict"] and all(_same_cell(reviewed.get(key), row.get(key)) for key in JUDGED):
            row["verdict"] = reviewed["verdict"]
        elif reviewed["verdict"]:
            lost.append(reviewed["id"])
    if lost:
        raise VerdictsError(
            f"{path} holds {len(lost)} verdicts on answers that are no longer the same or no longer there, "
            f"the first is {lost[0]!r}: move the file away to start a new review"
        )


def _same_cell(a: str | None, b: str | None) -> bool:
    """Whether two cells hold the same text, if a spreadsheet or a reviewer left out the guards of one of them."""
    return a is not None and b is not None and same_text(_bare(a), _bare(b))


def _bare(cell: str) -> str:
    return APOSTROPHES.sub("", cell)


def _read(path: str | Path) -> list[tuple[int, dict[str, str]]]:
    """The rows that are not empty, each with its number in the spreadsheet; ids without guard, verdicts in lower case.

    Only those two need to be intact, and both are ASCII: a file saved in a local encoding is read as well.
    """
    raw = Path(path).read_bytes()
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = raw.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    header, *records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)) or [[]]
    columns = [name.strip().lower() for name in header]
    if missing := [name for name in ("id", "verdict") if name not in columns]:
        titles = ", ".join(header) or "nothing"
        raise InputError(f"{path}: no column {' and no column '.join(missing)}; the first row has {titles}")
    rows = []
    for number, record in enumerate(records, start=2):
        row = dict.fromkeys(columns, "") | dict(zip(columns, map(str.strip, record), strict=False))
        if any(row.values()):
            rows.append((number, row | {"id": unguard(row["id"]), "verdict": row["verdict"].lower()}))
    return rows


def read_review(
    path: str | Path,
    predictions: Iterable[Prediction],
    bootstrap: Bootstrap = BY_IMAGE,
) -> dict:
    """How many of the reviewed answers the expert accepts, with 95 % intervals over images.

    Rows without a verdict and rows removed from the file are pending; `unclear` is not counted. A stratified sample's
    verdicts are weighted, so that they speak of all predictions. Returns
    {"expert_accuracy": entry of the verdict correct, "expert_accuracy_with_partly": of correct or partly,
    "exact_match": of the same questions, "verdicts": {verdict: number}, "pending": number of predictions without one,
    "accepted_not_exact": ids of synonyms, "exact_not_accepted": ids of doubtful references}.

    Raises InputError, naming the sheet's row, where a verdict is none of VERDICTS or was passed on another answer than
    the prediction's, where an id is missing, unknown or there twice, and where the file has no such columns.
    """
    predictions = list(predictions)
    check_predictions(predictions)
    verdicts = verdicts_of(path, {str(prediction["id"]): prediction for prediction in predictions})
    judged = [p for p in predictions if verdicts.get(str(p["id"]), "unclear") != "unclear"]
    verdict_of = [verdicts[str(prediction["id"])] for prediction in judged]
    exact = [answered_right(prediction) for prediction in judged]
    stratified = any(WEIGHT in row for _, row in _read(path))
    places = [i for i, p in enumerate(predictions) if verdicts.get(str(p["id"]), "unclear") != "unclear"]

    def mean(values: list) -> Estimate:
        if stratified:
            return weighted_mean(values, places, predictions, bootstrap)
        return estimate_mean(values, bootstrap.groups_of(judged), bootstrap)

    answers = list(zip(judged, verdict_of, exact, strict=True))
    counted = Counter(verdicts.values())
    return {
        "expert_accuracy": mean([verdict == "correct" for verdict in verdict_of]),
        "expert_accuracy_with_partly": mean([v in ("correct", "partly") for v in verdict_of]),
        "exact_match": mean(exact),
        "verdicts": {verdict: counted[verdict] for verdict in VERDICTS},
        "pending": len(predictions) - len(verdicts),
        "accepted_not_exact": [p["id"] for p, verdict, same in answers if verdict == "correct" and not same],
        "exact_not_accepted": [p["id"] for p, verdict, same in answers if verdict != "correct" and same],
    }


def verdicts_of(path: str | Path, by_id: Mapping[str, Prediction]) -> dict[str, str]:
    """The verdict on each id that has one, once every row is sure to be about one of the predictions."""
    rows: dict[str, int] = {}
    verdicts = {}
    for number, row in _read(path):
        problem = _problem(row, by_id.get(row["id"]), rows.get(row["id"]))
        if problem:
            raise InputError(f"{path}, row {number}: {problem}")
        rows[row["id"]] = number
        if row["verdict"]:
            verdicts[row["id"]] = row["verdict"]
    return verdicts


def _problem(row: Mapping[str, str], prediction: Prediction | None, before: int | None) -> str | None:
    if not row["id"]:
        return "no id; copy it back from the file as it was written"
    if prediction is None:
        return f"no prediction has the id {row['id']!r}; is this the review of another split or run?"
    if before is not None:
        return f"the id {row['id']!r} stands in row {before} already; keep one of the two"
    if not row["verdict"]:
        return None
    if row["verdict"] not in VERDICTS:
        return f"verdict {row['verdict']!r} on {row['id']!r} is none of {', '.join(VERDICTS)}, or empty"
    reviewed, answered = row.get("prediction"), prediction["prediction"]
    if reviewed is not None and not _same_cell(reviewed, answered):
        return f"the verdict on {row['id']!r} is about {reviewed!r}, but the prediction is {answered!r}"
    return None
