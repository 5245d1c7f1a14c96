"""Which rows belong together: the one definition that cuts, leak notes, intervals and breakdowns use.

Notable:
- Rows are of one group when they share the value of `data.group_column` (a patient, a slide) or the picture, over all
  splits, and so are rows that a chain of these connects.
- Names that differ in letter case or outer spaces are one, and a note says so: "P1" in one table, "p1 " in the next.
- A row whose group is unknown stands alone, by its picture.
- Every row gets its group's name as `group_id`. Without `data.group_column`, groups are pictures, and rows need none.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

UNKNOWN = ("", "nan", "none", "null", "<na>", "na", "n/a", "#n/a", "unknown", "-", "?")  # what tables have for nothing
WHOLE = re.compile(r"^(-?\d+)\.0+$")


def group_name(value: Any) -> str | None:
    """A cell of the group column as text; None where the group is unknown. 7.0 is 7, as number and as text: a gap in
    one table makes floats of a column, and so of the text that is written of it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    name = unicodedata.normalize("NFC", str(value)).strip()
    name = WHOLE.sub(r"\1", name)
    return None if name.lower() in UNKNOWN else name


def same_group(value: Any) -> str | None:
    """What the cells of one group have in common; None where the group is unknown."""
    name = group_name(value)
    return None if name is None else name.casefold()


class _Sets:
    """Disjoint sets that are joined (union-find with path halving)."""

    def __init__(self):
        self.parent: dict = {}

    def root(self, node):
        parent = self.parent
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def join(self, one, other) -> None:
        self.parent[self.root(one)] = self.root(other)


def group_ids(rows: Iterable[tuple[Any, Sequence[str]]]) -> list[str]:
    """The group of each row, given as (cell of the group column, ids of its pictures).

    A group is called by the first in order of its names; one without a name by the first of its pictures.
    """
    rows = [(group_name(value), image_ids) for value, image_ids in rows]
    sets = _Sets()
    for name, image_ids in rows:
        nodes = [("image", image_id) for image_id in image_ids] + ([] if name is None else [("name", name.casefold())])
        for node in nodes:
            sets.join(nodes[-1], node)
    first: dict = {}
    for name, image_ids in rows:
        label = (name is None, min(image_ids) if name is None else name)  # names before pictures
        root = sets.root(("image", image_ids[0]))
        first[root] = min(first.get(root, label), label)
    return [first[sets.root(("image", image_ids[0]))][1] for _, image_ids in rows]


def group_notes(column: str, values: dict[str, list[Any]], ids: list[str]) -> list[str]:
    """What a person should know of the groups: `values` of the column by split, `ids` of all rows."""
    notes = []
    for split, cells in values.items():
        unknown = sum(group_name(cell) is None for cell in cells)
        if unknown:
            notes.append(
                f"{split}: {unknown} of {len(cells)} rows have no {column}: each of them counts by its picture alone"
            )
    spelled: dict[str, set[str]] = {}
    for name in {group_name(cell) for cells in values.values() for cell in cells} - {None}:
        spelled.setdefault(name.casefold(), set()).add(name)
    twice = sorted(sorted(names) for names in spelled.values() if len(names) > 1)
    if twice:
        notes.append(
            f"{len(twice)} values of {column} are written in upper and lower case, and counted as one each, such as "
            f"{' and '.join(map(repr, twice[0][:3]))}: if they are different ones, give them names that differ in more"
        )
    names = set(spelled)
    joined = len(names) - len(names & {name.casefold() for name in ids})
    if joined:
        notes.append(
            f"pictures that stand under several values of {column} join them: {len(names)} of these make "
            f"{len(names) - joined} groups"
        )
    return notes
