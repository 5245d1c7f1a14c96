"""What another source holds out: its pictures and patients, found again among the rows of this one.

Notable:
- A picture is known by its pixels, at the size that a model reads: a file saved anew, with other metadata, is the same.
- A patient is known by name, however it is spelled, where both sources name patients (`data.group_column`). Rows of one
  patient go together, so that a held-out picture takes its patient's other pictures along.
- A picture that only looks like a held-out one is another: `duplicates` counts such.
- Pixels are read of held-out pictures, and of those whose sum, which the store keeps, is one of theirs: all pixels of
  100,000 pictures are 44 GB.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from blipvqa.data.groups import same_group
from blipvqa.data.images import number_of
from blipvqa.data.row_table import column_of
from blipvqa.data.several_pictures import pictures_of
from blipvqa.plural import of_all

PIXELS, PATIENT = "pixels", "patient"  # kinds of names
Names = frozenset[tuple[str, str]]


def names_of(data: Any, among: Names | None = None) -> Iterator[Names]:
    """What each row of a `VQADataset` is known by in every source: its pictures' pixels, and its patient; of these
    names alone, where `among` holds any."""
    digests = _digests(data, among)
    people = column_of(data.rows, data.group_column) if data.group_column else [None] * len(data)
    for row, cell in zip(data.rows, people, strict=True):
        name = same_group(cell)
        patient = () if name is None else [(PATIENT, name)]
        pixels = ((PIXELS, digests[image_id]) for image_id in pictures_of(row) if image_id in digests)
        yield frozenset([*pixels, *patient])


def _digests(data: Any, among: Names | None) -> dict[str, str]:
    """A digest of the pixels of each picture, by its id, the sum of its pixels in front; where `among` is given, of
    those alone whose sum is that of one of these names."""
    places = data.row_of_picture()
    sums, known = data.store.sums(np.array([number_of(image_id) for image_id in places], np.uint64))
    wanted = None if among is None else {name[:8] for kind, name in among if kind == PIXELS}
    digests = {}
    for (image_id, place), total, is_known in zip(places.items(), sums.tolist(), known.tolist(), strict=True):
        if wanted is not None and is_known and f"{total:08x}" not in wanted:
            continue
        pixels = data.pixels(*place).numpy()
        digests[image_id] = f"{zlib.crc32(pixels):08x}{hashlib.sha256(pixels).hexdigest()}"
    return digests


def held_out_names(sources: Iterable[Mapping]) -> Names:
    """The names of all that any of these sources (splits by name) is validated or scored on."""
    return frozenset().union(
        *(row for splits in sources for split, data in splits.items() if split != "train" for row in names_of(data))
    )


def rows_apart(train: Any, held_out: Names) -> list[int]:
    """The rows of `train`, a `VQADataset`, that show no picture and are of no patient of these names."""
    groups = list(column_of(train.rows, "group_id") if train.group_column else range(len(train)))
    concerned = {group for group, names in zip(groups, names_of(train, held_out), strict=True) if names & held_out}
    return [i for i, group in enumerate(groups) if group not in concerned]


def left_out_line(count: int, of: int, what: str, by: str) -> str:
    """That so many rows are not learnt since `by` holds them out."""
    return f"{of_all(count, of, what, 'is', 'are')} left out: {by} holds out their pictures or patients"
