"""An answered question: whether it is right, what it asks for, and when two rows ask the same."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from blipvqa.errors import InputError
from blipvqa.plural import how_many, of_all
from blipvqa.text import normalize, says_something
from blipvqa.vqa.turns import conversation


class Prediction(TypedDict, total=False):
    """One line of `predictions-<split>.jsonl`; the data's further columns stand beside these keys."""

    id: str  # "<split>/<row in the source>"
    image_id: str  # digest of the picture's bytes
    question: str
    answer: str  # the reference
    answers: list[str] | None  # where several are right: what people said, each as often as it was said
    prediction: str  # "" where the model said nothing
    score: float | None  # natural log of the probability of the answer's token sequence
    yes_probability: float | None  # of "yes" against "no", each as a whole answer
    unfinished: bool  # of a generated one: it stops at `generate.max_new_tokens`, before the model ended it
    confidence: float | None  # probability of the prediction, calibrated where there was validation to do it
    ranked: list[tuple[str, float]]  # the best candidates with their shares, while an answer is made and stored
    answer_set: list[str]  # candidates among which the right answer is at 90 % of questions (`conformal`)
    unlike: float  # how unlike train the picture is; above 1 is foreign (`foreign`)
    withheld: bool  # true where a threshold is in force that the confidence does not reach (`selective`)


YES_NO = frozenset({"yes", "no"})
ASK_YES_NO = frozenset(
    ["is", "are", "was", "were", "does", "do", "did", "can", "could", "has", "have", "had", "will", "would", "should"]
)
NEEDED = ("id", "image_id", "question", "answer", "prediction")  # to be scored


def check_predictions(predictions: Sequence[Prediction]) -> None:
    """Raise InputError unless every prediction has what is NEEDED and every id is unique."""
    for i, prediction in enumerate(predictions):
        if missing := [key for key in NEEDED if prediction.get(key) is None]:
            raise InputError(
                f"prediction {prediction.get('id', i)!r} has no {', '.join(missing)}: each needs {', '.join(NEEDED)}"
            )
    twice = [id_ for id_, n in Counter(prediction["id"] for prediction in predictions).items() if n > 1]
    if twice:
        raise InputError(
            f"{how_many(len(twice), 'id stands', 'ids stand')} more than once among the predictions, the first is "
            f"{twice[0]!r}: each question may be counted once"
        )


def unfinished_notes(predictions: Sequence[Prediction]) -> list[str]:
    """A line where answers stop at the limit of what is written; an older version did not keep which."""
    count = sum(prediction.get("unfinished", False) for prediction in predictions)
    if not count:
        return []
    stop = of_all(count, len(predictions), "answer", "stops", "stop")
    return [f"{stop} at generate.max_new_tokens, before the model ended {'it' if count == 1 else 'them'}"]


def asked(row: Mapping) -> str:
    """The normalized question behind its conversation: what it asks for, given a picture."""
    return normalize(" ".join(filter(None, (conversation(row), row["question"]))))


def same_question(prediction: Prediction) -> tuple[object, str]:
    """The image and what is asked of it: two rows equal in both are one input to the model."""
    return prediction["image_id"], asked(prediction)


def spelled_answers(row: Mapping) -> dict[str, str]:
    """Every right answer of a row, as the data spells it, by its normalized form; the reference first."""
    answers = row.get("answers")
    texts = [row["answer"], *(answers if isinstance(answers, list) else ())]
    spelled: dict[str, str] = {}
    for text in texts:
        spelled.setdefault(normalize(text), text)
    return spelled


def agree(one: Mapping, other: Mapping) -> bool:
    """Whether a right answer of one row is a right answer of the other."""
    return not spelled_answers(one).keys().isdisjoint(spelled_answers(other))


def actual_answer(row: Mapping) -> str:
    """The right answers as people read them."""
    return " / ".join(spelled_answers(row).values())


def nearest_answer(prediction: Mapping) -> str:
    """The right answer that was given, or the reference where none was: for measures that know one reference."""
    return spelled_answers(prediction).get(normalize(prediction["prediction"]), prediction["answer"])


def reference_answers(predictions: Iterable[Prediction]) -> dict[tuple[object, str], Counter[str]]:
    """How often each normalized answer stands as reference of each image and question."""
    references: dict[tuple[object, str], Counter[str]] = defaultdict(Counter)
    for prediction in predictions:
        references[same_question(prediction)].update(spelled_answers(prediction).keys())
    return references


def answered_right(prediction: Prediction) -> bool:
    """Whether a prediction is its reference answer, or another of several right ones."""
    return normalize(prediction["prediction"]) in spelled_answers(prediction)


def is_yes_no(answer: str) -> bool:
    """Whether the answer is yes or no: a yes/no question, to PathVQA, is one with such a reference."""
    return normalize(answer) in YES_NO


def asks_yes_no(question: str) -> bool:
    """Whether a question, by its words alone, wants yes or no: an auxiliary verb first and no "or" in it.

    Of PathVQA's 19,654 training questions 2 are taken for one wrongly and 60 missed, of VQA-RAD's 2,244 13 and 17.
    """
    return question_type(question) in ASK_YES_NO and "or" not in normalize(question).split()


def question_type(question: str) -> str:
    """The question's first word, normalized ("what", "is", "where"); "" for a question without words.

    Opening quotes and brackets are skipped, so that they open no types of their own.
    """
    return next((token for token in normalize(question).split() if says_something(token)), "")
