"""What answers reach that never see the picture: three models of the questions' words, learnt from train.

Notable:
- They read the turns before a question, too: what a conversation gives away is no merit of who looks.
- A question's words often give its answer away: on a fifth of PathVQA's training images held out, the commonest answer
  by first word is right for 0.30 of the questions, by whole question for 0.41, and the linear model for 0.47.
- The strongest of the three on the scored split is *the* baseline, which a model that looks has to exceed.
- All three are closed formulas: nothing is drawn, and the same rows give the same answers.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from blipvqa.text import normalize, words
from blipvqa.vqa.answers import Prediction, question_type, spelled_answers
from blipvqa.vqa.turns import conversation

MOST_WORDS = 2000  # the commonest words in train: the time grows with their cube, 1 s for 2000
MOST_ANSWERS = 4000  # the commonest answers in train: memory grows with words times answers, 64 MB
TURNS = " \x1f "  # between a question and the turns before it: stands in no text, and is no word
RIDGE = 3.0  # a normal prior on the weights: 1 to 30 made no difference beyond 0.01 on PathVQA and VQA-RAD


def by_first_word(train: Sequence[Mapping], questions: Sequence[str]) -> list[str]:
    """The commonest answer in train to questions that begin with the same word; else the commonest of all."""
    return _commonest_of_its_kind(train, questions, [question_type])


def by_whole_question(train: Sequence[Mapping], questions: Sequence[str]) -> list[str]:
    """The commonest answer in train to the same question, after the same turns where there are any; to one that train
    lacks, as `by_first_word`."""
    kinds = [normalize, lambda text: normalize(text.partition(TURNS)[0]), question_type]
    return _commonest_of_its_kind(train, questions, kinds)


def text_of(row: Mapping) -> str:
    """What an answerer of questions alone is given: the question, and after it the turns that stand before it."""
    return TURNS.join(filter(None, (row["question"], conversation(row))))


def by_words(train: Sequence[Mapping], questions: Sequence[str]) -> list[str]:
    """A linear model of the question's words and its first word: ridge regression on which answer was right.

    One weight for each of train's commonest words (twice at least) and answers; the answer with the highest sum is
    taken. Solved in closed form, W = (X'X + 3 I)^-1 X'Y (Hoerl and Kennard 1970).
    """
    answers = Counter(answer for row in train for answer in spelled_answers(row))
    chosen = sorted(answers, key=lambda answer: (-answers[answer], answer))[:MOST_ANSWERS]
    if not chosen:
        return [""] * len(questions)
    column = {answer: i for i, answer in enumerate(chosen)}
    word_columns = _WordColumns([text_of(row) for row in train])
    gram = RIDGE * np.eye(word_columns.count)
    right = np.zeros((word_columns.count, len(chosen)))  # X'Y
    for row in train:
        ones = word_columns.of(text_of(row))  # all other columns of this row of X are 0
        gram[np.ix_(ones, ones)] += 1
        for answer in spelled_answers(row):
            if answer in column:
                right[ones, column[answer]] += 1
    weights = np.linalg.solve(gram, right)  # [word, answer]
    return [chosen[weights[word_columns.of(question)].sum(axis=0).argmax()] for question in questions]


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


def _commonest_of_its_kind(
    train: Sequence[Mapping], questions: Sequence[str], kinds: Sequence[Callable[[str], str]]
) -> list[str]:
    """By the first of `kinds` that train has; of equally common answers, the first in alphabetical order."""
    kinds = [*kinds, lambda question: ""]  # at last, every question is of one kind
    times: list[dict[str, Counter[str]]] = [defaultdict(Counter) for _ in kinds]
    for row in train:
        for kind_of, counters in zip(kinds, times, strict=True):
            counters[kind_of(text_of(row))].update(spelled_answers(row).keys())
    commonest = [
        {kind: min(counter, key=lambda answer: (-counter[answer], answer)) for kind, counter in counters.items()}
        for counters in times
    ]

    def answer(question: str) -> str:
        pairs = zip(kinds, commonest, strict=True)
        return next((answers[kind] for kind_of, answers in pairs if (kind := kind_of(question)) in answers), "")

    return [answer(question) for question in questions]


class _WordColumns:
    """A column for each of train's commonest words, for each as a question's first one, and a constant column."""

    def __init__(self, questions: Iterable[str]):
        times = Counter(word for question in questions for word in _marked_words(question))
        common = sorted((word for word, n in times.items() if n > 1), key=lambda word: (-times[word], word))
        self.column = {word: i for i, word in enumerate(common[:MOST_WORDS])}
        self.count = len(self.column) + 1

    def of(self, question: str) -> list[int]:
        """The columns that are 1 for a question."""
        present = (self.column[word] for word in _marked_words(question) if word in self.column)
        return [*sorted(present), len(self.column)]


def _marked_words(question: str) -> set[str]:
    in_order = words(question)
    return {*in_order, *(f"first: {word}" for word in in_order[:1])}
