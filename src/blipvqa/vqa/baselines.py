"""What answers reach that never see the picture: three models of the questions' words, learnt from train.

Notable:
- They read the turns before a question, too: what a conversation gives away is no merit of who looks.
- A question's words often give its answer away: on a fifth of PathVQA's training images held out, the commonest answer
  by first word is right for 0.30 of the questions, by whole question for 0.41, and the linear model for 0.47.
- The strongest of the three on the scored split is *the* baseline, which a model that looks has to exceed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from blipvqa.numbers import blind
from blipvqa.text import normalize
from blipvqa.vqa.answers import Prediction, question_type, spelled_answers
from blipvqa.vqa.turns import conversation

TURNS = " \x1f "  # between a question and the turns before it: stands in no text, and is no word


def by_first_word(train: Sequence[Mapping], questions: Sequence[str]) -> list[str]:
    """The commonest answer in train to questions that begin with the same word; else the commonest of all."""
    return blind.commonest(_learnt(train), questions, [question_type])


def by_whole_question(train: Sequence[Mapping], questions: Sequence[str]) -> list[str]:
    """The commonest answer in train to the same question, after the same turns where there are any; to one that train
    lacks, as `by_first_word`."""
    kinds = [normalize, lambda text: normalize(text.partition(TURNS)[0]), question_type]
    return blind.commonest(_learnt(train), questions, kinds)


def by_words(train: Sequence[Mapping], questions: Sequence[str]) -> list[str]:
    """A linear model of the question's words and its first word (`numbers.blind`)."""
    return blind.by_words(_learnt(train), questions)


def text_of(row: Mapping) -> str:
    """What an answerer of questions alone is given: the question, and after it the turns that stand before it."""
    return TURNS.join(filter(None, (row["question"], conversation(row))))


def _learnt(train: Iterable[Mapping]) -> list[blind.Learnt]:
    return [(text_of(row), list(spelled_answers(row))) for row in train]


BASELINES: dict[str, Callable[[Sequence[Mapping], Sequence[str]], list[str]]] = {
    "first_word": by_first_word,
    "whole_question": by_whole_question,
    "question_words": by_words,
}
TITLES = {
    "first_word": "commonest answer by first word",
    "whole_question": "commonest answer by whole question",
    "question_words": "linear model of the question's words",
}


def blind_predictions(train: Iterable[Mapping], rows: Iterable[Mapping]) -> dict[str, list[Prediction]]:
    """The rows as each baseline answers them, from the `question` (with its turns) and `answer` of the rows of `train`.

    Answers are told apart by `normalize` and spelled as train first does; without train rows they are "".
    """
    train, rows = list(train), list(rows)
    spelled: dict[str, str] = {"": ""}
    for row in train:
        for answer, text in spelled_answers(row).items():
            spelled.setdefault(answer, text)
    questions = [text_of(row) for row in rows]
    silent = {"score": None, "yes_probability": None}
    return {
        name: [
            {**row, **silent, "prediction": spelled[answer]}
            for row, answer in zip(rows, answer_all(train, questions), strict=True)
        ]
        for name, answer_all in BASELINES.items()
    }
