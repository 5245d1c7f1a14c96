"""What texts give away by themselves: answers learnt from a training split's texts, which see no picture.

Notable:
- All are closed formulas: nothing is drawn, and the same texts give the same answers whatever their order.
- An answer is told apart by its string: who calls gives answers that are equal when they mean the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from blipvqa.text import words

MOST_WORDS = 2000  # the commonest words in train: the time grows with their cube, 1 s for 2000
MOST_ANSWERS = 4000  # the commonest answers in train: memory grows with words times answers, 64 MB
RIDGE = 3.0  # a normal prior on the weights: 1 to 30 made no difference beyond 0.01 on PathVQA and VQA-RAD

Learnt = tuple[str, Sequence[str]]  # a text of train and what is right of it, once each


def commonest(train: Iterable[Learnt], texts: Sequence[str], kinds: Sequence[Callable[[str], str]]) -> list[str]:
    """The commonest answer in train to texts of the same kind, by the first of `kinds` that train has; at last of all.

    Of equally common answers the first in alphabetical order; without train "".
    """
    kinds = [*kinds, lambda text: ""]  # at last, every text is of one kind
    times: list[dict[str, Counter[str]]] = [defaultdict(Counter) for _ in kinds]
    for text, answers in train:
        for kind_of, counters in zip(kinds, times, strict=True):
            counters[kind_of(text)].update(answers)
    chosen = [
        {kind: min(counter, key=lambda answer: (-counter[answer], answer)) for kind, counter in counters.items()}
        for counters in times
    ]

    def answer(text: str) -> str:
        pairs = zip(kinds, chosen, strict=True)
        return next((answers[kind] for kind_of, answers in pairs if (kind := kind_of(text)) in answers), "")

    return [answer(text) for text in texts]


def by_words(train: Iterable[Learnt], texts: Sequence[str]) -> list[str]:
    """A linear model of a text's words and its first word: ridge regression on which answer was right.

    One weight for each of train's commonest words (twice at least) and answers; the answer with the highest sum is
    taken, without train "". Solved in closed form, W = (X'X + 3 I)^-1 X'Y (Hoerl and Kennard 1970).
    """
    train = list(train)
    times = Counter(answer for _, answers in train for answer in answers)
    chosen = sorted(times, key=lambda answer: (-times[answer], answer))[:MOST_ANSWERS]
    if not chosen:
        return [""] * len(texts)
    column = {answer: i for i, answer in enumerate(chosen)}
    word_columns = _WordColumns([text for text, _ in train])
    gram = RIDGE * np.eye(word_columns.count)
    right = np.zeros((word_columns.count, len(chosen)))  # X'Y
    for text, answers in train:
        ones = word_columns.of(text)  # all other columns of this row of X are 0
        gram[np.ix_(ones, ones)] += 1
        for answer in answers:
            if answer in column:
                right[ones, column[answer]] += 1
    weights = np.linalg.solve(gram, right)  # [word, answer]
    return [chosen[weights[word_columns.of(text)].sum(axis=0).argmax()] for text in texts]


class _WordColumns:
    """A column for each of train's commonest words, for each as a text's first one, and a constant column."""

    def __init__(self, texts: Iterable[str]):
        times = Counter(word for text in texts for word in _marked_words(text))
        common = sorted((word for word, n in times.items() if n > 1), key=lambda word: (-times[word], word))
        self.column = {word: i for i, word in enumerate(common[:MOST_WORDS])}
        self.count = len(self.column) + 1

    def of(self, text: str) -> list[int]:
        """The columns that are 1 for a text."""
        present = (self.column[word] for word in _marked_words(text) if word in self.column)
        return [*sorted(present), len(self.column)]


def _marked_words(text: str) -> set[str]:
    in_order = words(text)
    return {*in_order, *(f"first: {word}" for word in in_order[:1])}
