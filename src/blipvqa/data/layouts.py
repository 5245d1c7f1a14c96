"""What a published set's layout is: a function from a folder's tables to the rows of its splits.

Notable:
- A layout is recognised by its files and by the columns of their first row, never by a folder's name, and a note says
  which one was. What none recognises is read by the names of splits (`split_names.py`).
- A column that `data.columns` names keeps the source's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from blipvqa.data.image_files import PictureFolder
from blipvqa.data.json_files import is_json_list
from blipvqa.data.raw import PlacedRow
from blipvqa.data.split_names import SourceError, TableFile, ending_of, listed, split_of
from blipvqa.data.text_tables import read_text_table

TEXT_ENDINGS = ("json", "jsonl", "csv", "tsv", "xlsx")


@dataclass
class Table:
    """The rows of one file, each with its place in it: a line, or the number of an element."""

    file: TableFile
    rows: Iterable[PlacedRow]
    unit: str = "line"


@dataclass
class Layout:
    """A folder in a layout that was recognised."""

    name: str  # as people call it
    splits: dict[str, list[Table]]
    within: tuple[str, ...] = ()  # folders in which its pictures may lie, beside the folder itself
    notes: list[str] = field(default_factory=list)
    beside: list[TableFile] = field(default_factory=list)  # what was read for its tables: VQA v2's annotations

    def left_aside(self, tables: dict[str, TableFile]) -> list[str]:
        """A line on the tables of its folder, by their paths inside, that are no part of it."""
        read = [*self.beside, *(table.file for parts in self.splits.values() for table in parts)]
        names = [name for name, file in tables.items() if file not in read]
        return [f"not read, since they are no part of this layout: {listed(names)}"] if names else []


@dataclass(frozen=True)
class Source:
    """What a layout is recognised by."""

    tables: dict[str, TableFile]  # by path inside the folder
    files: dict[str, list[TableFile]]  # those that are a split by their name
    pictures: PictureFolder
    columns: frozenset[str]  # the source's names in `data.columns`

    def image(self, row: dict, key: str, name: str) -> dict | str:
        """`row` with the picture's `name` as column `image`, or under its own `key` where the config names that; what
        is wrong where the row has a column `image` too."""
        rest = {column: value for column, value in row.items() if column != key}
        if key in self.columns:
            return {key: name, **rest}
        if "image" in rest:
            return f"columns image and {key} may both name the picture: set data.columns.{key}=image, or rename image"
        return {"image": name, **rest}

    def one_a_split(self, files: Iterable[tuple[str, TableFile]]) -> dict[str, TableFile]:
        """The file of each split. Raises SourceError where one has two."""
        by_split: dict[str, TableFile] = {}
        for split, path in files:
            if (other := by_split.setdefault(split, path)) is not path:
                both = " and ".join(name for name, file in self.tables.items() if file in (other, path))
                raise SourceError(f"split {split} is in several files: {both}. Keep one, or name them by split")
        return by_split


def first_row(path: TableFile) -> dict:
    """The first row that can be read, of a text file; without any, or in a file that is no table, an empty one."""
    if ending_of(path) not in TEXT_ENDINGS or not path.is_file():
        return {}
    try:
        return next((row for _, row in read_text_table(path) if isinstance(row, dict)), {})
    except SourceError:
        return {}  # said by whoever reads it


def table_of(path: TableFile, change: Callable[[dict], Iterable[dict | str]]) -> Table:
    """The file's rows, each as `change` makes rows, or problems, of it."""

    def rows() -> Iterator[PlacedRow]:
        for number, row in read_text_table(path):
            for changed in [row] if isinstance(row, str) else change(row):
                yield number, changed

    return Table(path, rows(), "element" if is_json_list(path) else "line")


def split_in(name: str) -> str | None:
    """The split that is a word of a file's name (`trainset.json`, `v2_OpenEnded_mscoco_val2014_questions.json`)."""
    words = re.split(r"[^a-z]+", name.lower().rpartition(".")[0].replace("set", " "))
    return next((split_of(word) for word in words if split_of(word)), None)


def tops(source: Source, endings: tuple[str, ...]) -> list[TableFile]:
    """The tables of these endings in the folder itself."""
    return [path for name, path in source.tables.items() if "/" not in name and ending_of(path) in endings]
