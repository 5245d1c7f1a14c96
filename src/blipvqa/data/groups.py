"""Which rows belong together: the one definition that cuts, leak notes, intervals and breakdowns use.

Notable:
- Rows are of one group when they share the value of `data.group_column` (a patient, a slide) or the picture, over all
  splits, and so are rows that a chain of these connects.
- Names that differ in letter case, spaces or signs that show nothing are one, and a note says so: "P1" in one table,
  "p1 " in the next. "007" and "7" are two, and a note says that a spreadsheet may have made the one of the other.
- A row whose group is unknown stands alone, by its picture.
- Every row gets its group's name as `group_id`. Without `data.group_column`, groups are pictures, and rows need none.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from blipvqa.data.texts import BLANK
from blipvqa.plural import how_many, of_all

UNKNOWN = ("", "nan", "none", "null", "<na>", "na", "n/a", "#n/a", "unknown", "-", "?")  # what tables have for nothing
WHOLE = re.compile(r"^(-?\d+)\.0+$")
PADDED = re.compile(r"^0+(?=\d+$)")  # zeros before a number


def group_name(value: Any) -> str | None:
    """A cell of the group column as text; None where the group is unknown. 7.0 is 7, as number and as text: a gap in
    one table makes floats of a column, and so of the text that is written of it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    shown = unicodedata.normalize("NFKC", str(value).translate(BLANK))  # full-width digits are digits
    shown = "".join(" " if sign.isspace() else sign for sign in shown if sign.isspace() or _shows(sign))
    name = WHOLE.sub(r"\1", " ".join(shown.split()))
    return None if name.lower() in UNKNOWN else name


def _shows(sign: str) -> bool:
    """Whether a character is no control or format character, such as the zero-width space that web pages leave."""
    return unicodedata.category(sign) not in ("Cc", "Cf")


def same_group(value: Any) -> str | None:
    """What the cells of one group have in common; None where the group is unknown."""
    name = group_name(value)
    return None if name is None else _folded(name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name.casefold())


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
        nodes = [("image", image_id) for image_id in image_ids] + ([] if name is None else [("name", _folded(name))])
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
                f"{split}: {of_all(unknown, len(cells), 'row', 'has', 'have')} no {column}: each of them counts by its "
                "picture alone"
            )
    spelled: dict[str, set[str]] = {}
    for cell in (cell for cells in values.values() for cell in cells):
        if (name := group_name(cell)) is not None:
            text = WHOLE.sub(r"\1", unicodedata.normalize("NFC", str(cell)).strip())
            spelled.setdefault(_folded(name), set()).add(text)
    twice = sorted(sorted(names) for names in spelled.values() if len(names) > 1)
    if twice:
        notes.append(
            f"{how_many(len(twice), f'value of {column} is', f'values of {column} are')} written in several ways "
            "(upper and lower case, spaces, signs), and counted as one each, such as "
            f"{' and '.join(map(ascii, twice[0][:3]))}: if they are different ones, give them names that differ in more"
        )
    names = set(spelled)
    padded = sorted(name for name in names if PADDED.match(name) and PADDED.sub("", name) in names)
    if padded:
        notes.append(
            f"{how_many(len(padded), f'value of {column} differs', f'values of {column} differ')} from another in "
            f"leading zeros alone, and counts as another one, such as {padded[0]!r} and {PADDED.sub('', padded[0])!r}: "
            "a spreadsheet drops such zeros. If they are the same, write them in one way"
        )
    joined = len(names) - len(names & set(map(_folded, ids)))
    if joined:
        notes.append(
            f"pictures that stand under several values of {column} join them: {len(names)} of these make "
            f"{how_many(len(names) - joined, 'group')}"
        )
    return notes
