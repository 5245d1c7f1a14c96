"""A split as its source has it, before anything is checked: rows under the source's names, and undecoded pictures."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from blipvqa.data.image_files import PictureFolder
from blipvqa.data.row_table import RowTable
from blipvqa.data.seen import Span

PlacedRow = tuple[int | str, dict | str]  # its line in the file, and the row or what is wrong with it


class Pictures(Protocol):
    """Column `image`, undecoded. A cell is the file's bytes, a path in the source's folder, or what is neither."""

    def cells(self, rows: Sequence[int]) -> Iterator[Any]:
        """The cells of these rows, whose numbers rise, a few at a time in memory."""

    def cell(self, row: int) -> Any:
        """One row's cell."""

    def may_name(self) -> bool:
        """Whether a cell may be a path: looked up without reading pictures."""


@runtime_checkable
class InFiles(Protocol):
    """Pictures that lie in a few large files, in the order of their rows."""

    def spans(self) -> list[Span]:
        """Which rows lie in which file."""


@dataclass
class ListedPictures:
    """The `image` column of a text file: paths."""

    values: Sequence

    def cells(self, rows: Sequence[int]) -> Iterator[Any]:
        return (self.values[row] for row in rows)

    def cell(self, row: int) -> Any:
        return self.values[row]

    def may_name(self) -> bool:
        return True


@dataclass
class Part:
    """One file of a split: from row `first` on. `lines` are the rows' lines; None: rows are counted from 0."""

    name: str
    first: int
    lines: list[int] | list[str] | None = None
    unit: str = "line"

    def place(self, row: int) -> str:
        if self.lines is None:
            return f"row {row - self.first} of {self.name}"
        return f"{self.unit} {self.lines[row - self.first]} of {self.name}"


@dataclass
class RawSplit:
    """One split: `rows` of every column but the pictures (empty where a row could not be read), under the source's
    names; `broken` says why a row could not be read."""

    rows: RowTable
    columns: list[str]  # the names of all columns, the pictures' too
    pictures: Pictures
    parts: list[Part]
    broken: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folder: PictureFolder | None = None  # where paths among the pictures count

    def place(self, row: int) -> str:
        """Where a person finds the row: "line 6 of train.jsonl"."""
        part = self.parts[bisect_right([part.first for part in self.parts], row) - 1]
        return part.place(row)
