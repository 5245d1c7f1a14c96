"""Opposite questions inside a data set: pairs that a model which does not look cannot both answer.

near_identical   one picture, two questions with nearly the same words, one answered yes and one no
present          one picture, "is … present" or "is there …" answered yes, and the same of something else answered no
two_pictures     one question, a picture where the answer is yes and one where it is no (MediConfusion's sets)
contradictions   one picture, two questions that differ in one word, which is the other's opposite (left, right)
asked_again      an open question, and a yes/no question that asks for the answer given

Nothing is labelled anew: questions and reference answers say it all. Of PathVQA's training questions 2,426, 1,944 and
464 are pairs of the first three kinds. The last two are rare in data, so the model is asked once more
(`new_questions`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from itertools import combinations
from typing import NamedTuple

from blipvqa.numbers.grouping import rows_by
from blipvqa.text import normalize, words
from blipvqa.vqa.answers import is_yes_no
from blipvqa.vqa.turns import conversation

Pair = tuple[int, int]  # row numbers; of a pair with opposite answers the yes comes first

NEARLY = 0.7  # of the letters, by difflib's ratio
MOST_ASKED = 1000  # questions that are asked once more
MOST_QUESTIONS = 200  # of one picture that are compared: their number squared are
PRESENT = re.compile(r"^(?:is|are) .+ present$|^(?:is|are) there .+$")
EXCLUSIVE = ("left right", "upper lower", "benign malignant", "acute chronic", "increased decreased", "many few")
EXCLUSIVE += ("anterior posterior", "superior inferior", "medial lateral", "high low", "large small", "dense sparse")
EXHAUSTIVE = ("present absent", "normal abnormal", "intact fractured", "male female")  # of one thing, one is always so
THERE = ("present", "absent")
OF_SEVERAL = frozenset(["all", "both", "every"])  # "both lungs are normal" and "both are abnormal" leave a third case


def _opposite_words() -> dict[str, dict[str, bool]]:
    """Each word's opposites, and whether one of the two is always so."""
    opposites: dict[str, dict[str, bool]] = defaultdict(dict)
    for pairs, always in ((EXCLUSIVE, False), (EXHAUSTIVE, True)):
        for pair in pairs:
            one, other = pair.split()
            opposites[one][other] = opposites[other][one] = always
    return opposites


OPPOSITES = _opposite_words()


def opposite_pairs(rows: Sequence[Mapping]) -> dict[str, list[Pair]]:
    """The pairs of each kind with opposite reference answers; a kind without any is an empty list."""
    closed = [i for i, row in enumerate(rows) if is_yes_no(row["answer"])]
    before = {i: conversation(rows[i]) for i in closed}  # "is it round?" after another one is another question
    pictures = rows_by((rows[i]["image_id"], before[i]) for i in closed)
    questions = rows_by((_asked(rows[i]), before[i]) for i in closed)
    by_picture = [[closed[k] for k in places] for places in pictures.values()]
    by_question = [[closed[k] for k in places] for places in questions.values()]
    return {
        "near_identical": [pair for picture in by_picture for pair in _near_identical(rows, picture)],
        "present": [
            pair
            for picture in by_picture
            for pair in _matched(rows, [i for i in picture if PRESENT.match(_asked(rows[i]))])
        ],
        "two_pictures": [pair for question in by_question for pair in _matched(rows, _clear(rows, question))],
    }


def _asked(row: Mapping) -> str:
    """A question without its mark."""
    return normalize(row["question"]).rstrip("? ")


def _says_yes(row: Mapping) -> bool:
    return normalize(row["answer"]) == "yes"


def _near_identical(rows: Sequence[Mapping], picture: Sequence[int]) -> list[Pair]:
    pairs = []
    for i, j in combinations(picture[:MOST_QUESTIONS], 2):
        one, other = _asked(rows[i]), _asked(rows[j])
        if _says_yes(rows[i]) == _says_yes(rows[j]) or one == other:
            continue
        matcher = SequenceMatcher(None, one, other)
        if matcher.real_quick_ratio() >= NEARLY and matcher.quick_ratio() >= NEARLY and matcher.ratio() >= NEARLY:
            pairs.append((i, j) if _says_yes(rows[i]) else (j, i))
    return pairs


def _matched(rows: Sequence[Mapping], chosen: Sequence[int]) -> list[Pair]:
    """The first yes with the first no, the second with the second, until one kind is used up: no row stands in two."""
    return list(
        zip(
            (i for i in chosen if _says_yes(rows[i])),
            (i for i in chosen if not _says_yes(rows[i])),
            strict=False,
        )
    )


def _clear(rows: Sequence[Mapping], question: Sequence[int]) -> list[int]:
    """One row of each picture that has one answer to this question."""
    by_picture = rows_by(rows[i]["image_id"] for i in question)
    return [
        question[places[0]]
        for places in by_picture.values()
        if len({_says_yes(rows[question[place]]) for place in places}) == 1
    ]


def contradictions(rows: Sequence[Mapping]) -> list[tuple[int, int, bool]]:
    """Pairs about one picture of which at most one can be yes; and whether exactly one has to be.

    The two questions differ in one word, which is the other's opposite, or in a "no" ("is there fat", "is there no
    fat"). A pair whose references are both yes (both lungs) is left out, because there it is no contradiction.
    """
    pairs = []
    closed = [i for i, row in enumerate(rows) if is_yes_no(row["answer"])]
    for places in rows_by((rows[i]["image_id"], conversation(rows[i])) for i in closed).values():
        asked = {_asked(rows[closed[k]]): closed[k] for k in reversed(places)}
        for question, i in asked.items():
            for other, exhaustive in _opposite_questions(question):
                j = asked.get(other)
                if j is not None and i < j and not (_says_yes(rows[i]) and _says_yes(rows[j])):
                    opposite = _says_yes(rows[i]) != _says_yes(rows[j])
                    pairs.append((i, j, exhaustive and opposite))
    return sorted(pairs)


def _opposite_questions(question: str) -> list[tuple[str, bool]]:
    """The questions that say the opposite, and whether one of the two is always so.

    A "no" is left out or put in, or a word gives way to its opposite. One of the two is always so only where that word
    ends the question, or says what is there: a picture may show normal tissue and abnormal tissue. Who asks "normal or
    abnormal" has no opposite.
    """
    asked = question.split()
    if "or" in asked:
        return []
    if "no" in asked:
        k = asked.index("no")
        return [(" ".join([*asked[:k], *asked[k + 1 :]]), True)]
    of_one = OF_SEVERAL.isdisjoint(asked)
    others = [
        ([*asked[:k], opposite, *asked[k + 1 :]], always and of_one and (k == len(asked) - 1 or word in THERE))
        for k, word in enumerate(asked)
        for opposite, always in OPPOSITES.get(word, {}).items()
    ]
    if asked[1:2] == ["there"] and asked[2:]:
        without = asked[3:] if asked[2] in ("a", "an", "any") else asked[2:]
        others.append(([*asked[:2], "no", *without], True))
    return [(" ".join(other), always) for other, always in others]


ARTICLES_AND_VERBS = ("a", "an", "the", "any", "is", "are", "was", "were", "do", "does", "did", "has", "have")
POINTERS = ("what", "which", "who", "where", "there", "this", "that", "it", "of", "in", "on")
NAMELESS = ("none", "nothing")  # answers that no question can ask for again
EMPTY_WORDS = frozenset([*ARTICLES_AND_VERBS, *POINTERS, *NAMELESS])
# What is asked for has to be what is shown: no answer to "which slice is the first to show fat?" can be present.
ASKS_WHAT_IS_SHOWN = re.compile(
    r"^(?:what|which)(?: \S+){0,4}? (?:is|are|was|were|can be)(?: also| clearly| easily| well)? "
    r"(?:present|seen|shown|visible)\b|^what (?:does|do|did) .+ shows?\b|^what shows? "
)


def asked_again(rows: Sequence[Mapping], answers: Sequence[str]) -> list[Pair]:
    """An open question and the yes/no question that asks for its answer: "what is present?", answered "liver", and "is
    liver present?".

    `answers` are those that were given, one for each row. The yes/no question holds all words of the answer, and no
    word beside them that the open question lacks.
    """
    pairs = []
    for places in rows_by((row["image_id"], conversation(row)) for row in rows).values():
        closed = [i for i in places if is_yes_no(rows[i]["answer"])]
        for i in places:
            answer = _content(answers[i])
            if is_yes_no(rows[i]["answer"]) or not answer or is_yes_no(answers[i]):
                continue
            about = _content(rows[i]["question"])
            for j in closed:
                asked = _content(rows[j]["question"])
                if answer <= asked and asked - answer <= about:
                    pairs.append((i, j))
    return pairs


def _content(text: str) -> set[str]:
    return set(words(text)) - EMPTY_WORDS


class NewQuestion(NamedTuple):
    """A question to ask once more, about the picture of a row."""

    row: int
    question: str
    kind: str  # "negated": the opposite of a yes/no question, of which one has to be so; "asked_again": for its answer


def new_questions(rows: Sequence[Mapping], answers: Sequence[str], most: int = MOST_ASKED) -> list[NewQuestion]:
    """What to ask once more of the model that gave these answers, one for each row: at most `most` questions, evenly
    chosen.

    "is fat present?" becomes "is fat absent?", and "what is present?", answered "fat", becomes "is fat present?".
    """
    asked = []
    for i, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        if is_yes_no(row["answer"]):
            opposite = next((other for other, always in _opposite_questions(_asked(row)) if always), None)
            if opposite:
                asked.append(NewQuestion(i, f"{opposite}?", "negated"))
        elif _content(answer) and not is_yes_no(answer) and ASKS_WHAT_IS_SHOWN.search(normalize(row["question"])):
            asked.append(NewQuestion(i, f"is {normalize(answer)} present?", "asked_again"))
    step = max(1.0, len(asked) / most)
    return [asked[int(k * step)] for k in range(min(most, len(asked)))]
