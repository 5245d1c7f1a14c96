"""Where a model fails: exact match by slices of the predictions, always with the number of questions.

Every table is a list of rows {"slice", "exact_match", "n", "groups", "low", "high"}, ready for a data frame, with 95 %
intervals over images. Tables by answer leave out yes/no questions: their two answers are short, common, and
would fill the easiest row of each.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import BY_IMAGE, Bootstrap, Estimate, estimate
from blipvqa.numbers.grouping import levels
from blipvqa.numbers.shrinkage import shrunk
from blipvqa.text import normalize, words
from blipvqa.vqa.answers import Prediction, is_yes_no, nearest_answer, question_type, spelled_answers
from blipvqa.vqa.measures import MEASURES, counts

OTHER = "(other)"
MOST = np.inf
LENGTHS = {"1 word": 1, "2 words": 2, "3 words": 3, "4-5 words": 5, "6-10 words": 10, "over 10 words": MOST}
FREQUENCIES = {
    "never": 0,
    "once": 1,
    "2-5 times": 5,
    "6-20 times": 20,
    "21-100 times": 100,
    "over 100 times": MOST,
}


def slices(
    predictions: Iterable[Prediction],
    train: Iterable[Mapping] | None = None,
    *,
    breakdown: Sequence[str] = (),
    bootstrap: Bootstrap = BY_IMAGE,
    top: int = 10,
    fewest: int = 10,
) -> dict:
    """The tables that show where a model fails, from predictions as for `scores.score`.

    With the rows of `train`, answers are told apart by how often train has them. The levels of the columns in
    `breakdown` compete for the worst slice beside the question types; a slice needs `fewest` questions for that,
    because a rate over nine is no fact. `top` is the length of the lists.

    Returns {"worst": the levels of lowest exact match, named "question_type: where", each with `shrunk`, what of it
    remains without the luck of being the worst of many (None without intervals), "looked_at": of how many,
    "answer_length": open questions by words in the reference,
    "answer_frequency": open questions by occurrences of the right answer in train; only with train,
    "confusion": see `confusion`, "mistakes": see `mistakes`}.
    """
    predictions = list(predictions)
    counted, groups = counts(predictions), bootstrap.groups_of(predictions)

    def table_rows(rows_of: Mapping[str, np.ndarray]) -> list[dict]:
        estimates = estimate(counted, groups, list(rows_of.values()), MEASURES, ["exact_match"], bootstrap)
        return [_table_row(name, entry["exact_match"]) for name, entry in zip(rows_of, estimates, strict=True)]

    large = {
        f"{axis}: {level}": rows
        for axis, rows_of in axes(predictions, breakdown).items()
        for level, rows in rows_of.items()
        if len(rows) >= fewest
    }
    worst = sorted(_without_luck(table_rows(large)), key=lambda row: row["exact_match"])[:top]
    tables = {"worst": worst, "looked_at": len(large), "answer_length": table_rows(_by_length(predictions))}
    if train is not None:
        tables["answer_frequency"] = table_rows(_by_frequency(predictions, train))
    return tables | {"confusion": confusion(predictions, top), "mistakes": mistakes(predictions, top)}


def axes(predictions: Sequence[Prediction], breakdown: Iterable[str] = ()) -> dict[str, dict[str, np.ndarray]]:
    """The rows of every level of every axis: `question_type`, the first word, then each breakdown column.

    VQA-RAD has a column of that name of its own; broken down by it, it is the axis "question_type (data)".
    Raises InputError where no prediction has a column that `breakdown` names.
    """
    columns = {column for prediction in predictions for column in prediction}
    if predictions and (unknown := [column for column in breakdown if column not in columns]):
        raise InputError(f"breakdown: no prediction has {', '.join(unknown)}; there are {', '.join(sorted(columns))}")
    rows_of = {"question_type": levels([question_type(prediction["question"]) for prediction in predictions])}
    for column in breakdown:
        name = "question_type (data)" if column == "question_type" else column
        rows_of[name] = levels([prediction.get(column) for prediction in predictions])
    return rows_of


def _without_luck(rows: list[dict]) -> list[dict]:
    """The rows with `shrunk`; a level on one image has no interval, and none there."""
    stated = [row for row in rows if row["low"] is not None]
    if len(stated) > 1:
        values = shrunk(*([row[key] for row in stated] for key in ("exact_match", "low", "high")))
        by_name = dict(zip((row["slice"] for row in stated), values, strict=True))
        return [row | {"shrunk": by_name.get(row["slice"])} for row in rows]
    return [row | {"shrunk": None} for row in rows]


def _table_row(name: str, entry: Estimate) -> dict:
    return {"slice": name, "exact_match": entry["value"], **{key: entry[key] for key in ("n", "groups", "low", "high")}}


def _by_length(predictions: Sequence[Prediction]) -> dict[str, np.ndarray]:
    return _binned(predictions, LENGTHS, lambda row: len(words(row["answer"])))


def _by_frequency(predictions: Sequence[Prediction], train: Iterable[Mapping]) -> dict[str, np.ndarray]:
    """By the right answer that train has most often: whoever learnt "cardiac" has it, where "heart" is right, too."""
    seen = Counter(text for row in train for text in spelled_answers(row))
    return _binned(predictions, FREQUENCIES, lambda row: max(seen[text] for text in spelled_answers(row)))


def _binned(
    predictions: Sequence[Prediction], bounds: Mapping[str, float], size: Callable[[Prediction], int]
) -> dict[str, np.ndarray]:
    """The open questions whose answer's size is at most each bin's bound, and above the bound before."""
    sizes = np.array([-1 if is_yes_no(p["answer"]) else size(p) for p in predictions])
    rows_of, above = {}, -1.0
    for name, bound in bounds.items():
        rows_of[name] = np.flatnonzero((sizes > above) & (sizes <= bound))
        above = bound
    return rows_of


def confusion(predictions: Iterable[Prediction], top: int = 10) -> dict:
    """What was answered where the commonest reference answers were right.

    Returns {"answers": the `top` commonest references, "predicted": the same and "(other)",
    "counts": [answer][predicted] questions, "n": questions of each answer}.
    """
    pairs = _answered(predictions)
    sizes = _sizes(pairs)
    answers = sorted(sizes, key=lambda answer: (-sizes[answer], answer))[:top]
    matrix = [[pairs[answer, predicted] for predicted in answers] for answer in answers]
    for answer, row in zip(answers, matrix, strict=True):
        row.append(sizes[answer] - sum(row))
    n = [sizes[answer] for answer in answers]
    return {"answers": answers, "predicted": [*answers, OTHER], "counts": matrix, "n": n}


def mistakes(predictions: Iterable[Prediction], top: int = 10) -> list[dict]:
    """The commonest wrong answers, {"answer", "prediction", "n", "of"}: n of all `of` with that reference."""
    pairs = _answered(predictions)
    sizes = _sizes(pairs)
    wrong = [(-n, answer, predicted) for (answer, predicted), n in pairs.items() if answer != predicted]
    return [{"answer": a, "prediction": p, "n": -n, "of": sizes[a]} for n, a, p in sorted(wrong)[:top]]


def _answered(predictions: Iterable[Prediction]) -> Counter[tuple[str, str]]:
    return Counter((normalize(nearest_answer(p)), normalize(p["prediction"])) for p in predictions)


def _sizes(pairs: Counter[tuple[str, str]]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for (answer, _), n in pairs.items():
        sizes[answer] += n
    return sizes
