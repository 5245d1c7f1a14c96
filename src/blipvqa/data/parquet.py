"""Parquet files, read as they are: no copy of them lies in any cache, so a replaced file is a new file at once.

Notable:
- What a file would ask for is read from its own metadata first: rows, values and unpacked bytes.
- Column `image` stays in the file. It is read a few rows at a time, and again where a picture is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blipvqa.data.arrow_tables import (
    BATCH_BYTES,
    MOST_BYTES,
    MOST_ROWS,
    Budget,
    check_schema,
    picture_cells,
    table_values,
)
from blipvqa.data.columns import column_called
from blipvqa.data.raw import Part, RawSplit
from blipvqa.data.row_table import SPAN, RowTableBuilder
from blipvqa.data.seen import Span
from blipvqa.data.split_names import SourceError
from blipvqa.data.text_tables import MOST_COLUMNS

MOST_VALUES = 50_000_000  # of all columns together, those in lists too: a few bytes can repeat one for ever
STRANGEST_RATIO = 100  # unpacked to packed bytes, beyond MOST_BYTES: pictures and texts pack far less
DICTIONARY_TYPES = ("STRING", "NONE", "JSON", "ENUM", "BSON")


def read_parquet(paths: list[Path], image: str, texts: tuple[str, ...], split: str) -> RawSplit:
    """A split of parquet files, whose column `image` holds the pictures and `texts` what the task needs."""
    rows = RowTableBuilder()
    parts: list[Part] = []
    names: list[str] = []
    pictures: list[str] = []  # what each file calls its column `image`: files may differ in the case of letters
    notes: list[str] = []
    budget = Budget(f"{split} ({paths[0].name})")
    for path in paths:
        with _named(path):
            file = open_parquet(path)
            pictures.append(column_called(image, file.schema_arrow.names))
            columns, more = check_schema(file.schema_arrow, pictures[-1], texts, path.name)
            check_sizes(file.metadata, columns, path)
            if rows.length + file.metadata.num_rows > MOST_ROWS:
                raise SourceError(f"{path.name}: {split} has more than {MOST_ROWS:,} rows")
            parts.append(Part(path.name, rows.length))
            ours = {name: column_called(name, names) for name in columns}
            for count, values in _spans(file, columns, budget):
                rows.append_columns({ours[name]: one for name, one in values.items()}, count)
        notes += [note for note in more if note not in notes]
        there = [ours.get(name, pictures[0]) for name in file.schema_arrow.names if name in (pictures[-1], *columns)]
        names += [name for name in there if name not in names]
    return RawSplit(rows.table(), names, ParquetPictures(paths, pictures), parts, notes=notes)


class _named:
    """Within, pyarrow's errors become a SourceError that names the file."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, OSError) and error.strerror and not isinstance(error, pa.ArrowException):
            raise SourceError(f"{self.path.name} cannot be read: {error.strerror}") from None
        if isinstance(error, Exception) and not isinstance(error, SourceError):
            reason = " ".join(str(error).replace(str(self.path), self.path.name).split())[:160]
            raise SourceError(f"{self.path.name} does not read as parquet: {reason or type(error).__name__}") from None


def number_of_rows(path: Path) -> int:
    """What the file itself says. Raises SourceError for a file that is no parquet."""
    with _named(path):
        return pq.read_metadata(path).num_rows


def open_parquet(path: Path) -> pq.ParquetFile:
    """The file, with texts and bytes read as dictionaries: a value that comes a thousand times is held once."""
    schema = pq.read_metadata(path).schema
    if len(schema) > MOST_COLUMNS:
        raise SourceError(f"{path.name} has {len(schema):,} columns, at most {MOST_COLUMNS:,} are read")
    repeatable = [
        schema.column(i).path
        for i in range(len(schema))
        if schema.column(i).physical_type == "BYTE_ARRAY" and schema.column(i).logical_type.type in DICTIONARY_TYPES
    ]
    return pq.ParquetFile(path, read_dictionary=repeatable, pre_buffer=False)


def check_sizes(metadata: pq.FileMetaData, columns: list[str], path: Path) -> None:
    """Raises SourceError where the file's own metadata say that it asks for too much."""
    wanted = packed = unpacked = values = 0
    for group in range(metadata.num_row_groups):
        for i in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(i)
            packed, unpacked = packed + chunk.total_compressed_size, unpacked + chunk.total_uncompressed_size
            if chunk.path_in_schema.split(".")[0] in columns or chunk.path_in_schema in columns:
                wanted += chunk.total_uncompressed_size
                values += chunk.num_values
    size = f"{path.stat().st_size / 1e6:,.2f} MB"
    if values > MOST_VALUES:
        raise SourceError(f"{path.name} ({size}) asks for {values:,} values, at most {MOST_VALUES:,} are read")
    if wanted > MOST_BYTES:
        limit = f"at most {MOST_BYTES / 1e9:.0f} GB are read"
        raise SourceError(f"{path.name} ({size}) asks for {wanted / 1e9:,.1f} GB of texts and columns, {limit}")
    if unpacked > MOST_BYTES and unpacked > STRANGEST_RATIO * max(packed, 1):
        raise SourceError(
            f"{path.name} ({size}) asks for {unpacked / 1e9:,.1f} GB of memory: a file that packs so well is no "
            "table of pictures. Write it anew without the large values"
        )


def _spans(
    file: pq.ParquetFile, columns: list[str], budget: Budget
) -> Iterator[tuple[int, dict[str, pa.Array | list]]]:
    """How many rows, and their values by column, a few thousand at a time."""
    if not columns:
        yield file.metadata.num_rows, {}
        return
    for batch in file.iter_batches(SPAN, columns=columns, use_threads=False):
        yield len(batch), {name: table_values(batch.column(name), budget, name) for name in columns}


def _may_name(metadata: pq.FileMetaData, column: str) -> bool:
    """Whether a cell of a column of pictures may be a path."""
    kinds = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    own = [i for i, kind in enumerate(kinds) if kind.path == column or kind.path.startswith(f"{column}.")]
    contents = [i for i in own if kinds[i].path.endswith(".bytes")]
    if not contents:
        return any(kinds[i].logical_type.type != "NONE" for i in own)
    chunks = [metadata.row_group(group).column(i) for group in range(metadata.num_row_groups) for i in contents]
    counts = [chunk.statistics.null_count if chunk.is_stats_set else None for chunk in chunks]
    return any(count != 0 for count in counts)


class ParquetPictures:
    """Column `image` of several parquet files, read where it stands."""

    def __init__(self, paths: list[Path], columns: list[str]):
        self.paths, self.columns = paths, columns  # what each file calls it
        metadata = [pq.read_metadata(path) for path in paths]
        self.starts = [0, *accumulate(one.num_rows for one in metadata)]
        self._prepare()

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[int, list] = (0, [])  # the first row of the batch that was read last, and its cells

    def __getstate__(self) -> dict:
        """For loader processes: without the lock and what was read last."""
        return {"paths": self.paths, "columns": self.columns, "starts": self.starts}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._prepare()

    def spans(self) -> list[Span]:
        """Which rows lie in which file."""
        ends = zip(self.paths, self.starts, self.starts[1:], self.columns, strict=False)
        return [Span(path, first, end, column) for path, first, end, column in ends]

    def may_name(self) -> bool:
        """Whether a file's column has text, and not bytes for every picture beside it, by the file's own counts."""
        return any(_may_name(pq.read_metadata(path), name) for path, name in zip(self.paths, self.columns, strict=True))

    def cells(self, rows: Sequence[int]) -> Iterator[Any]:
        """The cells of these rows, whose numbers rise."""
        wanted = iter(rows)
        row = next(wanted, None)
        for start, cells in self._batches(row or 0):
            while row is not None and row < start + len(cells):
                yield cells[row - start]
                row = next(wanted, None)
            if row is None:
                return

    def cell(self, row: int) -> Any:
        """One row's cell; those beside it are at hand afterwards."""
        with self._lock:
            start, cells = self._last
            if not start <= row < start + len(cells):
                start, cells = next(batch for batch in self._batches(row) if row < batch[0] + len(batch[1]))
                self._last = (start, cells)
            return cells[row - start]

    def _batches(self, first: int) -> Iterator[tuple[int, list]]:
        """(row, cells from there on), from the row group on that holds row `first`."""
        for path, column, start, end in zip(self.paths, self.columns, self.starts, self.starts[1:], strict=False):
            if first < end:
                with _named(path):
                    yield from self._batches_of(path, column, start, first)

    def _batches_of(self, path: Path, column: str, start: int, first: int) -> Iterator[tuple[int, list]]:
        file = open_parquet(path)
        for group in range(file.metadata.num_row_groups):
            metadata = file.metadata.row_group(group)
            if first < start + metadata.num_rows:
                average = max(1, metadata.total_byte_size // max(1, metadata.num_rows))
                size = max(1, min(256, BATCH_BYTES // average))
                at = start
                for batch in file.iter_batches(size, row_groups=[group], columns=[column], use_threads=False):
                    yield at, picture_cells(batch.column(0))
                    at += len(batch)
            start += metadata.num_rows
