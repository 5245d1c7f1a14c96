"""Other pictures in place of a question's own: a blank one, and another one of the split.

Notable:
- Where the same question is asked of a picture with another answer, that picture takes the place: a model that looks
  then has to change its answer, and is right when it follows the new picture.
- Of several pictures, one alone is dropped or exchanged, too: a model that needs all of them then has to change.
- Each row is exchanged by itself, from the seed and its id.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from blipvqa.data.dataset import VQADataset
from blipvqa.data.several_pictures import pictures_of
from blipvqa.models.towers import IMAGE_MEAN
from blipvqa.numbers.grouping import rows_by
from blipvqa.vqa.answers import asked, reference_answers, same_question, spelled_answers

GREY = tuple(round(255 * mean) for mean in IMAGE_MEAN)  # what the model sees as zeros


def blanked(pixels: Tensor, _image_id: str) -> Tensor:
    """Every picture the same grey, which normalization makes zeros: `[3,S,S]` uint8."""
    return torch.tensor(GREY, dtype=torch.uint8).view(3, 1, 1).expand_as(pixels).clone()


def exchangeable(rows: Sequence[Mapping]) -> bool:
    """Whether there is another image to exchange each one for."""
    return len({row["image_id"] for row in rows}) > 1


def partners(rows: Sequence[Mapping], seed: int) -> list[int]:
    """For each row, the row whose picture takes the place of its own.

    One of those with the same question and another answer; where there is none, the next image in a random circle of
    all, so that each is used. Pictures whose rows answer one question differently are not taken for their answer.
    """
    references = reference_answers(rows)
    clear = [i for i, row in enumerate(rows) if references[same_question(row)].keys() == spelled_answers(row).keys()]
    answers_to: dict[str, dict[frozenset[str], list[int]]] = {}
    for question, places in rows_by(asked(rows[i]) for i in clear).items():
        of_question = [clear[k] for k in places]
        by_answers = rows_by(frozenset(spelled_answers(rows[i])) for i in of_question)
        in_order = sorted(by_answers, key=sorted)
        answers_to[question] = {answers: [of_question[k] for k in by_answers[answers]] for answers in in_order}
    rows_of = rows_by(row["image_id"] for row in rows)
    circle = sorted(rows_of)
    random.Random(f"{seed}/exchange").shuffle(circle)
    following = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    chosen = []
    for row in rows:
        own = references[same_question(row)]
        by_answers = answers_to.get(asked(row), {})
        others = [same for answers, same in by_answers.items() if answers.isdisjoint(own)]
        draw = random.Random(f"{seed}/exchange/{row['id']}")
        chosen.append(_drawn_from(others, draw) if others else rows_of[following[row["image_id"]]][0])
    return chosen


def _drawn_from(lists: Sequence[Sequence[int]], draw: random.Random) -> int:
    """One element of all lists, each as likely; without joining them, which would take the square of the rows."""
    position = draw.randrange(sum(map(len, lists)))
    for each in lists:
        if position < len(each):
            return each[position]
        position -= len(each)
    raise AssertionError("the position lies beyond the lists")


def exchanged(dataset: VQADataset, seed: int) -> VQADataset:
    """The same questions, each with another picture of the split."""
    return dataset.with_pictures_of(partners(dataset.rows, seed))


def of_several(rows: Sequence[Mapping]) -> list[int]:
    """The rows that show several pictures."""
    return [i for i, row in enumerate(rows) if row.get("image_ids")]


def one_dropped(rows: Sequence[Mapping], seed: int) -> list[list[tuple[int, int]]]:
    """The pictures of each row, (row, place), without one of them, which is drawn."""
    return [
        [(i, place) for place in range(len(pictures_of(row))) if place != _drawn_place(row, seed)]
        for i, row in enumerate(rows)
    ]


def one_exchanged(rows: Sequence[Mapping], seed: int) -> list[list[tuple[int, int]]]:
    """The pictures of each row, (row, place), one of them, which is drawn, exchanged for one of its partner's."""
    chosen = []
    for i, (row, partner) in enumerate(zip(rows, partners(rows, seed), strict=True)):
        place = _drawn_place(row, seed)
        pictures = [(i, own) for own in range(len(pictures_of(row)))]
        pictures[place] = (partner, min(place, len(pictures_of(rows[partner])) - 1))
        chosen.append(pictures)
    return chosen


def _drawn_place(row: Mapping, seed: int) -> int:
    return random.Random(f"{seed}/one of several/{row['id']}").randrange(len(pictures_of(row)))


PARTS = {"one_dropped": one_dropped, "one_exchanged": one_exchanged}  # changes of one picture of several


def as_exchanged(rows: Sequence[Mapping], predictions: Sequence[Mapping], seed: int) -> list[dict]:
    """The predictions on `exchanged` pictures, under each row's own `image_id` again.

    `shown_image_id` is the picture that the model saw; `shown` says what is right of that one.
    """
    marked, references = [], reference_answers(rows)
    for row, prediction, partner in zip(rows, predictions, partners(rows, seed), strict=True):
        other = rows[partner]
        of_other = shown(other, references) if asked(other) == asked(row) else NOT_ASKED
        marked.append({**prediction, "image_id": row["image_id"], "shown_image_id": other["image_id"], **of_other})
    return marked


NOT_ASKED = {"shown_answer": None, "shown_answers": None}  # nobody knows what is right of what was shown


def shown(row: Mapping, references: Mapping[tuple, Collection[str]]) -> dict:
    """What is right of the row that was put in place, as a row's `answer` and `answers` say it: all `references` of the
    same picture and question."""
    return {"shown_answer": row["answer"], "shown_answers": list(references[same_question(row)])}
