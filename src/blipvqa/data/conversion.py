"""`make shards`: any source as parquet files in the Hub's layout, by several processes; they are a source as any other.

Notable:
- Files hold the pictures' own bytes, unchanged, and each column as the source has it. Rows keep their order.
- A file is put into place whole. The same command after a kill goes on with the files that are missing, and until the
  last one is there the folder is refused as a source, since its files are numbered.
- A row whose picture cannot be read is named by row and file, as where a source is read; `data.on_error: skip` leaves
  it out. What pictures decode to is looked at by whoever reads the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from blipvqa.bars import progress_bar
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path
from blipvqa.data.columns import ColumnNames, column_called, image_and_texts
from blipvqa.data.formats import open_source
from blipvqa.data.image_files import cell_bytes
from blipvqa.data.raw import InFiles, Pictures, RawSplit
from blipvqa.data.row_table import Column
from blipvqa.data.saved_sets import SavedPictures
from blipvqa.data.several_pictures import cells_of
from blipvqa.data.split_names import SourceError
from blipvqa.plural import how_many
from blipvqa.runs.files import replacing

ROWS = 10_000  # of a file
TOGETHER = 32_000_000  # bytes of pictures in memory, and in a row group, which is read to show one of them
MOST_TOGETHER = 1000  # rows of a row group
PLAN = "conversion.made-of"  # in the folder: what its files are made of
# of `data`: by these it is read, and no other setting changes what is written
READ_BY = frozenset({"source", "revision", "subset", "columns", "image_root", "image_suffix", "on_error"})
FILE = pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])


@dataclass
class _Named:
    """The files that a split's cells name."""

    any: bool = False
    several: bool = False  # whether a cell has several pictures
    digest: str = ""  # of the files' states


@dataclass(frozen=True)
class _Piece:
    """Some rows of a split that become one file."""

    raw: RawSplit
    split: str
    rows: range
    image: str  # what the source calls its pictures
    several: bool  # pictures of a row, of any in its split
    path: Path
    skip: bool


def write_shards(config: Config, folder: str | Path, workers: int | None = None) -> str:
    """Write `config.data.source` into `folder`, by `workers` processes (by default as many as there are cores); a line
    on what was written.

    Raises SourceError that names the row, for a split without a column of pictures, or where `folder` holds something
    else.
    """
    folder = project_path(folder)
    splits, notes = open_source(config)
    for split, raw in splits.items():
        if raw.columns:  # without a readable row there are none, and what is wrong is said by row
            ColumnNames(raw.columns, split, config.data, (), raw.notes)  # raises where no column holds pictures
    image = image_and_texts(config.data, config.texts)[0]
    named = {split: _named_files(raw) for split, raw in splits.items()}
    _take(folder, _made_of(config, splits, named))
    pieces = [
        piece for split, raw in splits.items() for piece in _pieces(raw, split, named[split], image, folder, config)
    ]
    missing = [piece for piece in pieces if not piece.path.exists()]
    left_out = sum(_written(missing, workers or os.cpu_count() or 1))
    rows = sum(len(raw.rows) for raw in splits.values())
    more = f", {len(pieces) - len(missing)} of them before" if len(missing) < len(pieces) else ""
    skipped = f"; {how_many(left_out, 'row')} left out" if left_out else ""
    return "\n".join(
        [
            *notes,
            f"{folder.name}: {how_many(rows, 'row')} of {how_many(len(splits), 'split')} in "
            f"{how_many(len(pieces), 'file')}{more}{skipped}",
        ]
    )


def _made_of(config: Config, splits: dict[str, RawSplit], named: dict[str, _Named]) -> str:
    """What makes the files: settings, rows, and the source's own files, with the time that only the system sets."""
    read_by = config.data.model_dump(mode="json", include=READ_BY)
    files = {split: _files(raw, named[split]) for split, raw in splits.items()}
    counts = {split: [len(raw.rows), raw.columns] for split, raw in splits.items()}
    texts = {split: [_digest(column) for column in raw.rows.columns.values()] for split, raw in splits.items()}
    return json.dumps([read_by, config.texts, ROWS, counts, texts, files], sort_keys=True)


def _files(raw: RawSplit, named: _Named) -> list:
    """Each of a few large files; and of pictures in files of their own, where some may be replaced, a digest."""
    states = [(path.name, path.stat()) for path in _large_files(raw.pictures)]
    files = [[name, state.st_size, state.st_mtime_ns, state.st_ctime_ns] for name, state in states]
    return files + ([named.digest] if named.any else [])


def _large_files(pictures: Pictures) -> list[Path]:
    if isinstance(pictures, SavedPictures):
        return pictures.files()
    return [span.path for span in pictures.spans()] if isinstance(pictures, InFiles) else []


def _named_files(raw: RawSplit) -> _Named:
    """What cells name: a large file may hold names, too, beside pictures. Every cell is looked at, once."""
    named = _Named()

    def states() -> Iterator[Any]:
        for cell in raw.pictures.cells(range(len(raw.rows))) if raw.pictures.may_name() else ():
            ones = cells_of(cell)
            named.several |= len(ones) > 1
            for one in ones:
                if isinstance(one, str):
                    named.any = True
                    yield raw.folder and raw.folder.state(one)

    named.digest = _digest(states())
    return named


def _digest(values: Iterable) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(repr(value).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _take(folder: Path, made_of: str) -> None:
    """Make the folder, or go on with one that the same source began. Raises SourceError for any other."""
    plan = folder / PLAN
    if folder.exists() and any(folder.iterdir()) and (not plan.is_file() or plan.read_text("utf-8") != made_of):
        raise SourceError(f"'{folder.name}' holds something else, or was made of other data: give a new folder")
    if not plan.is_file():
        with replacing(plan) as beside:
            beside.write_text(made_of, encoding="utf-8")


def _pieces(raw: RawSplit, split: str, named: _Named, image: str, folder: Path, config: Config) -> Iterator[_Piece]:
    count, skip = -(-len(raw.rows) // ROWS), config.data.on_error == "skip"
    image, several = column_called(image, raw.columns), _several(raw, named)
    for k in range(count):
        rows = range(k * ROWS, min((k + 1) * ROWS, len(raw.rows)))
        yield _Piece(raw, split, rows, image, several, folder / f"{split}-{k:05d}-of-{count:05d}.parquet", skip)


PIECES: list[_Piece] = []  # of a process that writes some of them: sent to it once, not with each


def _several(raw: RawSplit, named: _Named) -> bool:
    """Whether a row may show several."""
    if named.any:
        return named.several
    return any(isinstance(cell, list) for cell in _first_cells(raw))


def _first_cells(raw: RawSplit) -> Iterator[Any]:
    """The first cell of each file that is not empty: what one of its cells is all are."""
    pictures, files = raw.pictures, [range(len(raw.rows))]
    if isinstance(pictures, InFiles):
        files = [range(span.first, span.end) for span in pictures.spans()]
    for rows in files:
        yield from islice((cell for cell in pictures.cells(rows) if cells_of(cell) != [None]), 1)


def _begin(pieces: list[_Piece]) -> None:
    PIECES[:] = pieces


def _written(pieces: list[_Piece], workers: int) -> Iterator[int]:
    """How many rows each piece leaves out, as they are written."""
    with progress_bar(total=len(pieces), desc="write shards", unit="file") as bar:
        if workers == 1 or len(pieces) < 2:
            for piece in pieces:
                yield _write(piece)
                bar.update()
            return
        spawn, workers = get_context("spawn"), min(workers, len(pieces))
        with ProcessPoolExecutor(workers, spawn, _begin, (pieces,)) as pool:
            try:
                for left_out in pool.map(_write_number, range(len(pieces))):
                    yield left_out
                    bar.update()
            except BrokenProcessPool:
                raise SourceError(
                    "a process that writes shards was killed, as the system does when memory runs out. What is written "
                    "is whole: the same command goes on, with fewer --workers if it happens again"
                ) from None


def _write_number(number: int) -> int:
    return _write(PIECES[number])


def _write(piece: _Piece) -> int:
    """Write a file; how many of its rows were left out."""
    left_out = 0
    with replacing(piece.path) as beside:
        writer = None
        try:
            for rows, pictures in _groups(piece):
                left_out += len(rows) - sum(one is not None for one in pictures)
                table = _table(piece, rows, pictures)
                if writer is None:
                    texts = [name for name in table.column_names if name != piece.image]
                    writer = pq.ParquetWriter(beside, table.schema, use_dictionary=texts)
                writer.write_table(table.cast(writer.schema), row_group_size=MOST_TOGETHER)
        finally:
            if writer is not None:
                writer.close()
    return left_out


def _groups(piece: _Piece) -> Iterator[tuple[list[int], list[list[bytes] | None]]]:
    """Rows with their pictures, None where they are left out, as many as may be in memory."""
    rows: list[int] = []
    pictures: list[list[bytes] | None] = []
    size = 0
    for row, cell in zip(piece.rows, piece.raw.pictures.cells(piece.rows), strict=True):
        rows.append(row)
        pictures.append(_pictures(piece, row, cell))
        size += sum(map(len, pictures[-1] or ()))
        if size >= TOGETHER or len(rows) == MOST_TOGETHER:
            yield rows, pictures
            rows, pictures, size = [], [], 0
    if rows:
        yield rows, pictures


def _pictures(piece: _Piece, row: int, cell: Any) -> list[bytes] | None:
    """The files of a row's pictures. Raises SourceError that names the row, or None where it is to be left out."""
    problem = piece.raw.broken.get(row)
    if problem is None:
        try:
            return [bytes(cell_bytes(one, piece.raw.folder)) for one in cells_of(cell)]
        except ValueError as error:
            problem = str(error)
    if piece.skip:
        return None
    where = f"row {piece.split}/{row}: {piece.raw.place(row)}"
    raise SourceError(f"{where}: {problem}. Mend it, or set data.on_error: skip.")


def _table(piece: _Piece, rows: list[int], of_rows: list[list[bytes] | None]) -> pa.Table:
    kept = np.array([row for row, one in zip(rows, of_rows, strict=True) if one is not None], np.int64)
    files = ([{"bytes": one, "path": None} for one in of_row] for of_row in of_rows if of_row is not None)
    columns = {name: _arrow(column, kept) for name, column in piece.raw.rows.columns.items()}
    pictures = pa.array(files, pa.list_(FILE)) if piece.several else pa.array((one for (one,) in files), FILE)
    return pa.table({piece.image: pictures, **columns})


def _arrow(column: Column, rows: Iterable[int]) -> pa.Array:
    """A column's values; lists and objects as JSON text, which is read as what it stands for."""
    chosen = column.chosen(np.asarray(rows))
    if chosen.arrow is not None:
        return chosen.arrow
    values = [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in chosen]
    return pa.array(values, pa.large_string())
