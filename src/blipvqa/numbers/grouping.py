"""Rows by what they share: an image, a patient, a kind of question."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
FEW_GROUPS = 30  # with fewer images, intervals are rough


def few_groups_note(images: int) -> str:
    """What a score on fewer than FEW_GROUPS images says first."""
    return f"the intervals rest on {images} images only: they are rough, and rather too narrow"


def rows_by(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """The row numbers of each distinct key, in the order in which the keys first come."""
    rows: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        rows.setdefault(key, []).append(i)
    return rows
