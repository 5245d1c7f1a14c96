"""Sets that the `datasets` library loaded, from the Hub or a folder of `save_to_disk`: their columns stay undecoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from blipvqa.data.arrow_tables import MOST_ROWS, Budget, check_schema, picture_cells, table_values
from blipvqa.data.columns import column_called
from blipvqa.data.raw import Part, RawSplit
from blipvqa.data.row_table import SPAN, RowTableBuilder
from blipvqa.data.split_names import SourceError
from blipvqa.runs.files import read_json

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 256  # rows
COMMITS = "commits.json"  # what names meant on the Hub when it was asked last


def fetched_commit(source: str, revision: str | None, cache: Path) -> str | None:
    """The commit of a set from the Hub that was read last under this name; None where it came from elsewhere."""
    return commits(cache).get(f"{source}@{revision or 'main'}")


def commits(cache: Path) -> dict[str, str]:
    """The commit that each name meant when the Hub was asked last."""
    file = cache / COMMITS
    return read_json(file) if file.is_file() else {}


def read_set(table: Dataset, image: str, texts: tuple[str, ...], split: str) -> RawSplit:
    """A split of the library as rows, and pictures that stay where they are."""
    if len(table) > MOST_ROWS:
        raise SourceError(f"{split} has {len(table):,} rows, at most {MOST_ROWS:,} are read")
    _validate(table, split)
    image = column_called(image, table.column_names)
    columns, notes = check_schema(table.features.arrow_schema, image, texts, split)
    budget, rows = Budget(split), RowTableBuilder()
    texts_only = table.select_columns(columns).with_format("arrow")
    for start in range(0, len(table), SPAN) if columns else ():
        part = texts_only[start : start + SPAN]
        values = {name: table_values(part.column(name).combine_chunks(), budget, name) for name in columns}
        rows.append_columns(values, len(part))
    if not columns:
        rows.append_columns({}, len(table))
    names = [name for name in table.column_names if name in (image, *columns)]
    return RawSplit(rows.table(), names, SavedPictures(table, image), [Part(split, 0)], notes=notes)


def _validate(table: Dataset, split: str) -> None:
    """Arrow files are used as they lie: an offset that a stranger bent would be read outside of its file.

    Raises SourceError where lengths, offsets or row numbers are impossible, or a text is not UTF-8.
    """
    try:
        table.data.table.validate(full=True)
        if table._indices is not None:  # the rows that a filtered or shuffled set shows
            rows = table._indices.table
            rows.validate(full=True)
            bounds = pc.min_max(rows.column(0))
            if len(rows) and not (bounds["min"].as_py() >= 0 and bounds["max"].as_py() < table.data.num_rows):
                raise ValueError("a row number beyond the last row")
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SourceError(f"{split}: its arrow file is damaged: {' '.join(str(error).split())[:160]}") from None


class SavedPictures:
    """Column `image` of a set of the library, as Arrow: never decoded by it."""

    def __init__(self, table: Dataset, column: str):
        self.column = column
        self.table = table.select_columns([column] if column in table.column_names else []).with_format("arrow")

    def files(self) -> list[Path]:
        """The files in which they lie."""
        return [Path(file["filename"]) for file in self.table.cache_files]

    def cells(self, rows: Sequence[int]) -> Iterator[Any]:
        """The cells of these rows."""
        for start in range(0, len(rows), BATCH):
            yield from self._cells_of(self.table[list(rows[start : start + BATCH])])

    def may_name(self) -> bool:
        """Its cells are views of mapped files: to look at each reads no picture."""
        return True

    def cell(self, row: int) -> Any:
        """One row's cell."""
        return self._cells_of(self.table[[row]])[0]

    def _cells_of(self, part) -> list[Any]:
        return [cell for chunk in part.column(self.column).chunks for cell in picture_cells(chunk)]
