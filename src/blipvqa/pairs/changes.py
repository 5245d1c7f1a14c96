"""The same statements with other pictures: swapped, one of the two exchanged or dropped, both exchanged.

Notable:
- Swapped, a statement about the order is told in the other order (`order`): its truth stays. Turned, its words stay.
- A picture is dropped by showing the other one twice: a model that needs both then has to guess.
- Exchanged ones are those of another pair of the split, the next one in a random circle of all, whatever is right of
  it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from blipvqa.data.dataset import VQADataset
from blipvqa.numbers.grouping import rows_by
from blipvqa.pairs.order import about_order, in_other_order

Shown = tuple[str, int]  # of a row or its partner: which, and the place of the picture in it
OWN, PARTNER = "own", "partner"
CHANGES: dict[str, tuple[Shown, Shown]] = {
    "first_dropped": ((OWN, 1), (OWN, 1)),
    "second_dropped": ((OWN, 0), (OWN, 0)),
    "first_exchanged": ((PARTNER, 0), (OWN, 1)),
    "second_exchanged": ((OWN, 0), (PARTNER, 1)),
    "both_exchanged": ((PARTNER, 0), (PARTNER, 1)),
}


def swapped(dataset: VQADataset) -> VQADataset:
    """The pictures of each row in the other order, and its statement told so, where it is about the order."""
    other = turned(dataset)
    other.rows = [{**row, "sentence": in_other_order(row["sentence"])} for row in other.rows]
    return other


def turned(dataset: VQADataset) -> VQADataset:
    """The pictures of each row in the other order, under the statement as it was."""
    return dataset.showing([[(i, 1), (i, 0)] for i in range(len(dataset))])


def of_order(dataset: VQADataset) -> list[int]:
    """The rows whose statement is about the order of their pictures."""
    return [i for i, row in enumerate(dataset.rows) if about_order(row["sentence"])]


def changed(dataset: VQADataset, name: str, seed: int) -> VQADataset:
    """The same statements, each with its pictures as CHANGES has them."""
    following = partners(dataset.rows, seed)
    rows = ({OWN: i, PARTNER: following[i]} for i in range(len(dataset)))
    return dataset.showing([[(row[which], place) for which, place in CHANGES[name]] for row in rows])


def partners(rows: Sequence[dict], seed: int) -> list[int]:
    """For each row a row of another pair; of its own, where there is no other."""
    of_pair = rows_by(row["image_id"] for row in rows)
    circle = sorted(of_pair)
    random.Random(f"{seed}/exchange").shuffle(circle)
    following = dict(zip(circle, circle[1:] + circle[:1], strict=True))
    return [of_pair[following[row["image_id"]]][0] for row in rows]
