"""Rows by what they share: an image, a patient, a kind of question."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def rows_by(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """The row numbers of each distinct key, in the order in which the keys first come."""
    rows: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        rows.setdefault(key, []).append(i)
    return rows
