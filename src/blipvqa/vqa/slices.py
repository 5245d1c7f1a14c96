"""Where a model fails: exact match by slices of the predictions, always with the number of questions.

Every table is a list of rows {"slice", "n", "exact_match", "low", "high"}, ready for a data frame, with 95 %
intervals over images. Tables by answer leave out yes/no questions: their two answers are short, common, and
would fill the easiest row of each.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from blipvqa.numbers.bootstrap import estimate, group_of
from blipvqa.text import is_yes_no, normalize, words
from blipvqa.vqa.measures import Prediction, axes, counts

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
    group: str = "image_id",
    resamples: int = 1000,
    seed: int = 0,
    top: int = 10,
    fewest: int = 10,
) -> dict:
    """The tables that show where a model fails.

    Args:
        predictions: as for `metrics.score`.
        train: rows with `answer`; with them, answers are told apart by how often train has them.
        breakdown: columns whose levels compete for the worst slice, beside the question types.
        group, resamples, seed: of the bootstrap, as for `metrics.score`.
        top: length of the lists of worst slices, confused answers and mistakes.
        fewest: questions that a slice needs to be called one of the worst; a rate over nine is no fact.

    Returns:
        {"worst": the levels of lowest exact match, named "question_type: where",
         "answer_length": open questions by words in the reference,
         "answer_frequency": open questions by occurrences of the reference in train; only with train,
         "confusion": see `confusion`,
         "mistakes": see `mistakes`}
    """
    predictions = list(predictions)
    table, groups = counts(predictions), group_of(predictions, group)

    def rows_of(found: Mapping[str, np.ndarray]) -> list[dict]:
        parts = list(found.values())
        estimates = estimate(table, groups, parts, ["exact_match"], resamples=resamples, seed=seed)
        return [_table_row(name, entry["exact_match"]) for name, entry in zip(found, estimates, strict=True)]

    levels = {
        f"{axis}: {level}": rows
        for axis, found in axes(predictions, breakdown).items()
        for level, rows in found.items()
        if len(rows) >= fewest
    }
    worst = sorted(rows_of(levels), key=lambda row: row["exact_match"])[:top]
    tables = {"worst": worst, "answer_length": rows_of(_by_length(predictions))}
    if train is not None:
        tables["answer_frequency"] = rows_of(_by_frequency(predictions, train))
    return tables | {"confusion": confusion(predictions, top), "mistakes": mistakes(predictions, top)}


def _table_row(name: str, entry: Mapping) -> dict:
    shown = {"n": entry["n"], "exact_match": entry["value"], "low": entry["low"], "high": entry["high"]}
    return {"slice": name, **shown}


def _by_length(predictions: Sequence[Prediction]) -> dict[str, np.ndarray]:
    return _binned(predictions, LENGTHS, lambda answer: len(words(answer)))


def _by_frequency(predictions: Sequence[Prediction], train: Iterable[Mapping]) -> dict[str, np.ndarray]:
    seen = Counter(normalize(row["answer"]) for row in train)
    return _binned(predictions, FREQUENCIES, lambda answer: seen[normalize(answer)])


def _binned(
    predictions: Sequence[Prediction], bounds: Mapping[str, float], size: Callable[[str], int]
) -> dict[str, np.ndarray]:
    """The open questions whose answer's size is at most each bin's bound, and above the bound before."""
    sizes = np.array([-1 if is_yes_no(p["answer"]) else size(p["answer"]) for p in predictions])
    found, above = {}, -1.0
    for name, bound in bounds.items():
        found[name] = np.flatnonzero((sizes > above) & (sizes <= bound))
        above = bound
    return found


def confusion(predictions: Iterable[Prediction], top: int = 10) -> dict:
    """What was answered where the commonest reference answers were right.

    Returns:
        {"answers": the `top` commonest references, "predicted": the same and "(other)",
         "counts": [answer][predicted] questions, "n": questions of each answer}
    """
    pairs = _answered(predictions)
    sizes = _sizes(pairs)
    answers = sorted(sizes, key=lambda answer: (-sizes[answer], answer))[:top]
    table = [[pairs[answer, predicted] for predicted in answers] for answer in answers]
    for answer, row in zip(answers, table, strict=True):
        row.append(sizes[answer] - sum(row))
    n = [sizes[answer] for answer in answers]
    return {"answers": answers, "predicted": [*answers, OTHER], "counts": table, "n": n}


def mistakes(predictions: Iterable[Prediction], top: int = 10) -> list[dict]:
    """The commonest wrong answers, {"answer", "prediction", "n", "of"}: n of all `of` with that reference."""
    pairs = _answered(predictions)
    sizes = _sizes(pairs)
    wrong = [(-n, answer, predicted) for (answer, predicted), n in pairs.items() if answer != predicted]
    return [{"answer": a, "prediction": p, "n": -n, "of": sizes[a]} for n, a, p in sorted(wrong)[:top]]


def _answered(predictions: Iterable[Prediction]) -> Counter[tuple[str, str]]:
    return Counter((normalize(p["answer"]), normalize(p["prediction"])) for p in predictions)


def _sizes(pairs: Counter[tuple[str, str]]) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for (answer, _), n in pairs.items():
        sizes[answer] += n
    return sizes
