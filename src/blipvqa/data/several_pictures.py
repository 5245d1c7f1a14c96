"""Rows with several pictures: slices, frames, before and after. One list of pictures is one image of the data set.

Notable:
- The pictures of a row are `image_ids`; its `image_id` is the digest of that list, so that all that counts, cuts or
  draws images takes equal lists for one image. A row with one picture has no `image_ids`, and a list of one is one.
- A person sees them on one sheet, numbered from 1 in the order of the row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blipvqa.config.kinds import Needs
from blipvqa.data.medical_files import image_digest
from blipvqa.data.row_table import RowTable, numbers_of

GAP = 0.02  # between the pictures of a sheet, of a picture's side
BAND = 0.12  # above each picture, for its number


def wrong_number(pictures: int, needs: Needs) -> str | None:
    """What is wrong with a row of so many pictures; None where nothing is."""
    if needs.fewest <= pictures <= needs.most:
        return None
    listed = "one picture" if pictures == 1 else f"a list of {pictures} pictures"
    if needs.fewest == 2:
        return f"{listed}, a row of task: pairs shows two"
    if needs.most == 1:
        return f"{listed}, only tasks vqa, retrieval and pairs take several"
    return f"{listed}, at most {needs.most} are read"


def cells_of(cell: Any) -> list[Any]:
    """The pictures that a cell of column `image` holds or names: those of a list, in csv written as a JSON list."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            listed = json.loads(cell)
        except ValueError:
            return [cell]  # a file's name may begin so
        if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
            cell = listed
    return (list(cell) or [None]) if isinstance(cell, list | tuple) else [cell]


def list_id(image_ids: Sequence[str]) -> str:
    """The `image_id` of a row with these pictures, in this order."""
    return image_ids[0] if len(image_ids) == 1 else image_digest(" ".join(image_ids).encode())


def pictures_of(row: Mapping) -> list[str]:
    """The ids of a row's pictures, in their order."""
    return row.get("image_ids") or [row["image_id"]]


def first_rows(rows: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """The first row that shows each picture, and the picture's number (uint64), for all pictures of `rows`."""
    alone = isinstance(rows, RowTable) and "image_ids" not in rows.columns
    if alone:
        numbers = numbers_of(rows.columns["image_id"])
        pictures, first = np.unique(numbers, return_index=True)
        return first, pictures
    places: dict[str, int] = {}
    for i, row in enumerate(rows):
        for image_id in pictures_of(row):
            places.setdefault(image_id, i)
    return np.array(list(places.values()), int), np.array([int(one, 16) for one in places], np.uint64)


def sheet_columns(count: int) -> int:
    """How many pictures stand side by side on a sheet of `count`."""
    return math.ceil(math.sqrt(count))


def sheet(images: Sequence[Image.Image]) -> Image.Image:
    """One picture as it is; several on one sheet, each with its number above it."""
    if len(images) == 1:
        return images[0]
    columns = sheet_columns(len(images))
    width, height = (max(image.size[k] for image in images) for k in (0, 1))
    gap, band = max(1, round(GAP * width)), max(9, round(BAND * max(width, height)))
    rows = math.ceil(len(images) / columns)
    size = (columns * (width + gap) - gap, rows * (height + band + gap) - gap)
    whole, font = Image.new("RGB", size, "white"), ImageFont.load_default(0.8 * band)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        left, top = column * (width + gap), row * (height + band + gap)
        ImageDraw.Draw(whole).text((left + width / 2, top + band / 2), str(number + 1), "black", font, anchor="mm")
        whole.paste(image, (left, top + band))
    return whole
