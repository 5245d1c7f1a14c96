"""Which rows stood in which split when a run was made, and what is different now.

Notable:
- `data.json` in the run folder holds a digest of the content of every row, its picture's bytes included. Names and
  time stamps decide nothing.
- A row that a model was trained on and that stands in another split now is named as such: its score would be too good.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from blipvqa.runs.files import damaged, read_json, write_json

FILE = "data.json"
Rows = Mapping[str, Mapping[str, str]]  # {split: {row's id: digest of its content}}, in the rows' order


def write_rows(folder: Path, rows: Rows) -> None:
    """Keep `rows` as those of the run in `folder`."""
    write_json(folder / FILE, rows)


def read_rows(folder: Path) -> Rows | None:
    """The rows of the run in `folder`; None where an older version made it, which kept none."""
    file = folder / FILE
    if not file.exists():
        return None
    rows = read_json(file)
    if not all(isinstance(split, dict) and all(isinstance(d, str) for d in split.values()) for split in rows.values()):
        raise damaged(file, "no digests of rows")
    return rows


def rows_digest(rows: Rows) -> str:
    """One digest of all splits, in hex."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def row_changes(before: Rows, after: Rows) -> list[str]:
    """A line for each kind of difference, with counts; none where every split holds the same rows in the same order."""
    gone, new, lines = _unmatched(before, after), _unmatched(after, before), []
    for old_split in gone:
        for split in new:
            moved = (gone[old_split] & new[split]).total() if old_split != split else 0
            if moved:
                seen = ", which the model was trained on" if old_split == "train" else ""
                lines.append(f"{_rows(moved)} of {old_split}{seen}, now in {split}")
                common = gone[old_split] & new[split]
                gone[old_split], new[split] = gone[old_split] - common, new[split] - common
    for split in dict.fromkeys([*before, *after]):
        lines += _changes_of(split, before.get(split, {}), after.get(split, {}), gone, new)
    return lines


def _unmatched(rows: Rows, others: Rows) -> dict[str, Counter]:
    """What each split of `rows` holds more than the same split of `others`, as counts of digests."""
    return {split: Counter(rows[split].values()) - Counter(others.get(split, {}).values()) for split in rows}


def _changes_of(split: str, before: Mapping, after: Mapping, gone: dict, new: dict) -> list[str]:
    lost, added = gone.get(split, Counter()), new.get(split, Counter())
    altered = [i for i, d in before.items() if i in after and after[i] != d and lost[d] and added[after[i]]]
    removed, more = lost.total() - len(altered), added.total() - len(altered)
    lines = []
    if altered:
        lines.append(f"{_rows(len(altered))} of {split} altered, e.g. {altered[0]}")
    if removed > 0:
        lines.append(f"{_rows(removed)} removed from {split}")
    if more > 0:
        lines.append(f"{_rows(more)} added to {split}")
    if (
        not lines
        and Counter(before.values()) == Counter(after.values())
        and list(before.items()) != list(after.items())
    ):
        lines.append(f"the rows of {split} stand in another order")
    return lines


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"
