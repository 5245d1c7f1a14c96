"""What another source holds out: its pictures and patients, found again among the rows of this one.

Notable:
- A picture is known by its pixels, at the size that a model reads: a file saved anew, with other metadata, is the same.
- A patient is known by name, however it is spelled, where both sources name patients (`data.group_column`). Rows of one
  patient go together, so that a held-out picture takes its patient's other pictures along.
- A picture that only looks like a held-out one is another: `duplicates` counts such.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from blipvqa.data.groups import same_group
from blipvqa.data.row_table import column_of
from blipvqa.data.several_pictures import pictures_of
from blipvqa.plural import of_all

PIXELS, PATIENT = "pixels", "patient"  # kinds of names
Names = frozenset[tuple[str, str]]


def names_of(data: Any) -> Iterator[Names]:
    """What each row of a `VQADataset` is known by in every source: its pictures' pixels, and its patient."""
    digests = {
        image_id: hashlib.sha256(data.pixels(*place).numpy()).hexdigest()
        for image_id, place in data.row_of_picture().items()
    }
    people = column_of(data.rows, data.group_column) if data.group_column else [None] * len(data)
    for row, cell in zip(data.rows, people, strict=True):
        name = same_group(cell)
        patient = () if name is None else [(PATIENT, name)]
        yield frozenset([*((PIXELS, digests[image_id]) for image_id in pictures_of(row)), *patient])


def held_out_names(sources: Iterable[Mapping]) -> Names:
    """The names of all that any of these sources (splits by name) is validated or scored on."""
    return frozenset().union(
        *(row for splits in sources for split, data in splits.items() if split != "train" for row in names_of(data))
    )


def rows_apart(train: Any, held_out: Names) -> list[int]:
    """The rows of `train`, a `VQADataset`, that show no picture and are of no patient of these names."""
    groups = list(column_of(train.rows, "group_id") if train.group_column else range(len(train)))
    concerned = {group for group, names in zip(groups, names_of(train), strict=True) if names & held_out}
    return [i for i, group in enumerate(groups) if group not in concerned]


def left_out_line(count: int, of: int, what: str, by: str) -> str:
    """That so many rows are not learnt since `by` holds them out."""
    return f"{of_all(count, of, what, 'is', 'are')} left out: {by} holds out their pictures or patients"
