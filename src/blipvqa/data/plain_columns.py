"""What is checked of thousands of rows at once: columns that are plain as they came, and the ids of pictures.

A column that needs a look at each value (a date, NaN, a list) is left to `rows.py`, which takes its rows one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blipvqa.data.medical_files import REGION, View, view_of
from blipvqa.data.row_table import Column, RowTable, hex_column, packed
from blipvqa.data.several_pictures import list_id
from blipvqa.data.texts import LONGEST_TEXT
from blipvqa.data.values import LONGEST_VALUE

CLEAR = "[0-9A-Za-z]"  # a text that holds one says something


@dataclass
class PlainColumns:
    """Some rows' columns, under our names; `doubtful` are rows with a text that must be looked at."""

    columns: dict[str, pa.Array]
    doubtful: list[int]


def plain_columns(
    rows: RowTable, start: int, end: int, names: Mapping[str, str], texts: tuple[str, ...]
) -> PlainColumns | None:
    """The columns of rows `start` to `end`, called as `names` says; None where a value of them has to be changed."""
    columns: dict[str, pa.Array] = {}
    clear = np.ones(end - start, bool)
    for theirs, column in rows.columns.items():
        values, name = column.arrow, names[theirs]
        if values is None:
            return None
        values = values.slice(start, end - start)
        columns[name] = values
        if name in texts:
            if values.type != pa.large_string():
                return None
            fine = pc.and_(pc.match_substring_regex(values, CLEAR), pc.less_equal(pc.utf8_length(values), LONGEST_TEXT))
            clear &= fine.fill_null(False).to_numpy(zero_copy_only=False)
        elif not _is_plain(values):
            return None
    if not set(texts) <= columns.keys():
        return None
    return PlainColumns(columns, (start + np.flatnonzero(~clear)).tolist())


def _is_plain(values: pa.Array) -> bool:
    """Whether `plain_value` would leave every value as it is."""
    if pa.types.is_floating(values.type):
        return pc.all(pc.is_finite(values)).as_py() is not False
    if values.type == pa.large_string():
        return (pc.max(pc.utf8_length(values)).as_py() or 0) <= LONGEST_VALUE
    return True


def views_of(values: RowTable, rows: np.ndarray, window: list[float] | None) -> dict[int, View]:
    """What `rows` show of DICOM files and slides, by row, where they say so."""
    named = [name for name in ("frame", *REGION) if name in values.columns]
    if not window and not named:
        return {}
    cells = RowTable({name: values.columns[name] for name in named}, len(values)).chosen(rows)
    same: dict[View, View] = {}
    views = (same.setdefault(view, view) for view in (view_of(row, window) for row in cells))
    return {row: view for row, view in zip(rows.tolist(), views, strict=True) if view != View()}


def whole_notes(split: str, views: Mapping[int, View], parts: Mapping[str, str]) -> list[str]:
    """A line where rows name a frame or a region and no picture has any; `parts` are those that are part of a file."""
    named = ["frame"] * any(view.frame for view in views.values())
    named += REGION[:4] * any(all(view.region[:4]) for view in views.values())
    why = "frames are of DICOM files, regions of whole slides"
    return [f"{split}: pictures are shown whole, whatever {', '.join(named)} say: {why}"] if named and not parts else []


class ImageIds:
    """The ids of the pictures that each row of a source shows: a number a row, where it shows one."""

    def __init__(self, rows: int):
        self.first = np.zeros(rows, np.uint64)
        self.others: dict[int, dict[int, str]] = {}  # of rows that show several: by place, the first too

    def add(self, row: int, place: int, image_id: str) -> None:
        if place == 0:
            self.first[row] = int(image_id, 16)
        else:
            self.others.setdefault(row, {})[place] = image_id

    def of_whole_files(self, parts: Mapping[str, str]) -> np.ndarray:
        """uint64 `[rows]`: the id where a row shows one picture, and all of its file; else 0. `parts` are the ids of
        pictures that are parts of a file."""
        ids = self.first.copy()
        ids[list(self.others)] = 0
        ids[np.isin(ids, np.array([int(image_id, 16) for image_id in parts], np.uint64))] = 0
        return ids

    def columns(self, rows: np.ndarray) -> dict[str, Column]:
        """`image_id` of these rows, and `image_ids` where one shows several."""
        first = self.first[rows]
        if not self.others:
            return {"image_id": hex_column(first)}
        lists: list[list[str] | None] = []
        for i, row in enumerate(rows.tolist()):
            others = self.others.get(row)
            ids = others and [f"{first[i]:016x}", *(others[place] for place in sorted(others))]
            lists.append(ids)
            if ids:
                first[i] = int(list_id(ids), 16)
        texts = pa.array(packed(lists, plain=True), pa.large_string())
        return {"image_id": hex_column(first), "image_ids": Column(texts, is_json=True)}
