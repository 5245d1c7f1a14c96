"""The gallery of a split: its distinct pictures and its distinct texts, and which belong together.

Notable:
- Texts that are the same (`text.normalize`) are one candidate, and each of them is right for every picture that any of
  them describes; so is every one of a picture's several texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from blipvqa.numbers.grouping import rows_by
from blipvqa.text import normalize


@dataclass(frozen=True)
class Gallery:
    """Candidates by number, and the queries that the rows are."""

    picture_rows: list[int]  # the first row of each distinct picture
    text_rows: list[int]  # the first row of each distinct text
    picture_of: np.ndarray  # [row] its picture's number
    text_of: np.ndarray  # [row] its text's number
    pictures_of_text: list[np.ndarray]  # by text: the right pictures
    texts_of_picture: list[np.ndarray]  # by picture: the right texts

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping]) -> Gallery:
        """The gallery of a split's rows."""
        pictures = list(rows_by(row["image_id"] for row in rows).values())
        texts = list(rows_by(normalize(row["caption"]) for row in rows).values())
        picture_of, text_of = _numbers(pictures, len(rows)), _numbers(texts, len(rows))
        return cls(
            picture_rows=[of_picture[0] for of_picture in pictures],
            text_rows=[of_text[0] for of_text in texts],
            picture_of=picture_of,
            text_of=text_of,
            pictures_of_text=[np.unique(picture_of[of_text]) for of_text in texts],
            texts_of_picture=[np.unique(text_of[of_picture]) for of_picture in pictures],
        )

    def other_pictures(self, seed: int) -> np.ndarray:
        """For each picture the number of another one that takes its place; each takes one place, the same by seed."""
        order = np.random.default_rng([seed, len(self.picture_rows)]).permutation(len(self.picture_rows))
        other = np.empty_like(order)
        other[order] = np.roll(order, -1)
        return other


def _numbers(groups: Sequence[Sequence[int]], rows: int) -> np.ndarray:
    numbers = np.empty(rows, np.int64)
    for number, of_group in enumerate(groups):
        numbers[of_group] = number
    return numbers
