"""Pictures that are (almost) one colour after decoding: an empty field, a mask of 0 and 1, or a file read wrongly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image

from blipvqa.data.several_pictures import first_rows
from blipvqa.plural import how_many

NAMED = 5  # rows that a note names
LEAST_RANGE = 4  # of 255, between the darkest and the brightest: nobody sees less
SHOWS_NOTHING = "the picture is (almost) one colour after decoding"


def shows_nothing(pixels: np.ndarray) -> bool:
    """Whether uint8 `pixels`, `[3, H, W]`, are so nearly one colour that nothing can be seen in them."""
    return bool((np.ptp(pixels.reshape(3, -1), axis=1) < LEAST_RANGE).all())


def own_picture_notes(pictures: Iterable[Image.Image]) -> list[str]:
    """A note where one of a person's own RGB pictures shows nothing; none else."""
    empty = any(shows_nothing(np.asarray(picture).transpose(2, 0, 1)) for picture in pictures)
    return [SHOWS_NOTHING] if empty else []


def one_colour_notes(splits: Mapping) -> list[str]:
    """One line for each split that holds such pictures, naming the first rows that show them."""
    notes = []
    for name, data in splits.items():
        rows = _rows_of_one_colour(data)
        if rows:
            count = how_many(len(rows), "picture is", "pictures are")
            named = list(dict.fromkeys(rows))  # a row of several pictures once
            more = ", …" if len(named) > NAMED else ""
            notes.append(f"{name}: {count} (almost) one colour after decoding (row {', '.join(named[:NAMED])}{more})")
    return notes


def _rows_of_one_colour(data) -> list[str]:
    """The first row of each such picture."""
    first, pictures = first_rows(data.rows)
    return [data.rows[int(i)]["id"] for i in np.sort(first[data.store.are_one_colour(pictures)])]
