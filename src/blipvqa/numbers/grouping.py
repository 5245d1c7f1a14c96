"""Rows by what they share: an image, a patient, a kind of question."""

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import numpy as np

from blipvqa.plural import how_many

Key = TypeVar("Key", bound=Hashable)
FEW_GROUPS = 30  # with fewer images, intervals are rough
FEW_OF_LEVEL = 10  # a level of a column with fewer is named in the warnings
NAMED = 5  # of such levels
NO_VALUE = "(none)"  # the level of rows that have none


def few_groups_notes(groups: int, unit: str) -> list[str]:
    """What a score on fewer than FEW_GROUPS images (`unit`: or whatever intervals are drawn over) says first."""
    if groups >= FEW_GROUPS:
        return []
    return [f"everything rests on {how_many(groups, unit[:-1])} only: believe the intervals, not the values"]


def few_levels_notes(column: str, levels: Mapping[str, Mapping], unit: str) -> list[str]:
    """Which levels of a column have fewer than FEW_OF_LEVEL images (`unit`), by an estimate of each."""
    few = [f"{level} ({e['n']} on {e['groups']})" for level, e in levels.items() if e["groups"] < FEW_OF_LEVEL]
    if not few:
        return []
    shown = ", ".join(few[:NAMED]) + (f" and {len(few) - NAMED} more" if len(few) > NAMED else "")
    return [f"{column}: fewer than {FEW_OF_LEVEL} {unit} in {shown}: examples, no facts"]


def rows_by(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """The row numbers of each distinct key, in the order in which the keys first come."""
    rows: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        rows.setdefault(key, []).append(i)
    return rows


def written_level(value: object) -> str:
    """A value of a column as text, with single spaces; None and "" are NO_VALUE."""
    text = "" if value is None else " ".join(unicodedata.normalize("NFC", str(value)).split())
    return text or NO_VALUE


def levels(values: Iterable[object]) -> dict[str, np.ndarray]:
    """The row numbers of each level of a column, the commonest first.

    Values that differ in letter case or spaces are one level, called as most of its rows write it: "M" and "m " are no
    two sexes.
    """
    texts = [written_level(value) for value in values]
    named = {}
    for rows in rows_by(text.casefold() for text in texts).values():
        spellings = Counter(texts[row] for row in rows)
        named[min(spellings, key=lambda text: (-spellings[text], text))] = np.array(rows)
    return {level: named[level] for level in sorted(named, key=lambda level: (-len(named[level]), level))}
