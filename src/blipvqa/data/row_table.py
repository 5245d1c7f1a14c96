"""Rows as columns: a million of them are a few buffers, not a million dicts of Python objects.

Notable:
- `RowTable` reads as a list of dicts does: `table[i]` makes row i's dict when it is asked for, with the same values
  that came in. So all that takes rows takes a table, and what needs one column of many rows asks for it alone.
- A column of texts, whole numbers, fractions or truth values is an Arrow array. One of anything else is JSON text where
  its values are plain (`values.py`), and else, before rows are checked, the values themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPAN = 4096  # rows that are Python objects at a time
KINDS = {str: pa.large_string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
WHOLE = (-(2**63), 2**63 - 1)  # of int64


class Column(Sequence):
    """One column's values: an Arrow array, of JSON texts where `is_json`; or a list of what is neither."""

    def __init__(self, values: pa.Array | list, is_json: bool = False):
        self.values, self.is_json = values, is_json

    @property
    def arrow(self) -> pa.Array | None:
        """The values as Arrow has them; None where they are lists, objects or of several kinds."""
        return self.values if isinstance(self.values, pa.Array) and not self.is_json else None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return list(self.chosen(np.arange(len(self))[i]))
        value = self.values[i]
        value = value.as_py() if isinstance(value, pa.Scalar) else value
        return json.loads(value) if self.is_json and value is not None else value

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), SPAN):
            yield from self.span(start, SPAN)

    def span(self, start: int, length: int) -> list:
        """The values of these rows."""
        if isinstance(self.values, list):
            return self.values[start : start + length]
        values = self.values.slice(start, length).to_pylist()
        return [None if value is None else json.loads(value) for value in values] if self.is_json else values

    def chosen(self, rows: np.ndarray) -> Column:
        """The values of these rows."""
        if isinstance(self.values, list):
            return Column([self.values[i] for i in rows])
        return Column(self.values.take(pa.array(rows)), self.is_json)


class RowTable(Sequence):
    """Rows of equal columns. A column of `optional` is left out of a row in which it holds nothing."""

    def __init__(self, columns: Mapping[str, Column], length: int, optional: frozenset[str] = frozenset()):
        self.columns, self.length, self.optional = dict(columns), length, optional

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i):
        if isinstance(i, slice):
            return self.of(range(len(self))[i])
        i = range(self.length)[i]  # from the end too; IndexError beyond it
        return self._row((name, column[i]) for name, column in self.columns.items())

    def __iter__(self) -> Iterator[dict]:
        for start in range(0, self.length, SPAN):
            yield from self.span(start, min(SPAN, self.length - start))

    def __eq__(self, other) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(dict.__eq__, self, other))

    __hash__ = None

    def span(self, start: int, length: int) -> Iterator[dict]:
        """The dicts of these rows."""
        spans = [column.span(start, length) for column in self.columns.values()]
        rows = zip(*spans, strict=True) if spans else ((),) * length
        return (self._row(zip(self.columns, row, strict=True)) for row in rows)

    def _row(self, cells: Iterable[tuple[str, Any]]) -> dict:
        if not self.optional:
            return dict(cells)
        return {name: value for name, value in cells if value is not None or name not in self.optional}

    def of(self, rows: Sequence[int]) -> list[dict]:
        """The dicts of these rows."""
        return list(self.chosen(rows))

    def chosen(self, rows: Sequence[int] | np.ndarray) -> RowTable:
        """These rows only."""
        rows = np.asarray(rows, np.int64)
        columns = {name: column.chosen(rows) for name, column in self.columns.items()}
        return RowTable(columns, len(rows), self.optional)

    def without(self, name: str) -> tuple[RowTable, Column]:
        """The same rows without a column, and that column."""
        rest = {other: column for other, column in self.columns.items() if other != name}
        return RowTable(rest, self.length, self.optional), self.columns.get(name, Column([None] * self.length))

    def renamed(self, names: Mapping[str, str]) -> RowTable:
        """The same rows with other names of columns."""
        columns = {names.get(name, name): column for name, column in self.columns.items()}
        return RowTable(columns, self.length, self.optional)

    def with_column(self, name: str, column: Column) -> RowTable:
        """The same rows with a column more, or another one of that name."""
        return RowTable(self.columns | {name: column}, self.length, self.optional)


class RowTableBuilder:
    """Rows to a table, `SPAN` of them as Python objects at a time. A row may lack columns that others have.

    `plain` says that values are as JSON can hold them, so that lists and objects are kept as JSON text.
    """

    def __init__(self, plain: bool = False):
        self.plain, self.length = plain, 0
        self.pieces: dict[str, list[tuple[int, pa.Array | list]]] = {}  # from which row on, and the values
        self.waiting: dict[str, list] = {}
        self.started = 0  # the first row that waits

    def append(self, row: Mapping[str, Any]) -> None:
        waiting, at = self.waiting, self.length - self.started
        for name, value in row.items():
            values = waiting.get(name)
            if values is None:
                values = waiting[name] = []
            if len(values) < at:
                values += [None] * (at - len(values))
            values.append(value)
        self.length += 1
        if at + 1 == SPAN:
            self._flush()

    def append_columns(self, columns: Mapping[str, pa.Array], length: int) -> None:
        """`length` rows at once, of columns in the kinds of Arrow that a table keeps."""
        self._flush()
        for name, values in columns.items():
            self.pieces.setdefault(name, []).append((self.length, values))
        self.length += length
        self.started = self.length

    def _flush(self) -> None:
        for name, values in self.waiting.items():
            self.pieces.setdefault(name, []).append((self.started, packed(values, self.plain)))
        self.waiting, self.started = {}, self.length

    def table(self, columns: Iterable[str] | None = None, optional: frozenset[str] = frozenset()) -> RowTable:
        """The rows so far; `columns` are those wanted, all that came by default."""
        self._flush()
        names = list(self.pieces) if columns is None else list(columns)
        return RowTable({name: self._column(name) for name in names}, self.length, optional)

    def _column(self, name: str) -> Column:
        pieces = self.pieces.get(name, [])
        kinds = {piece.type for _, piece in pieces if isinstance(piece, pa.Array)} - {pa.null()}
        if len(kinds) <= 1 and all(isinstance(piece, pa.Array) for _, piece in pieces):
            return Column(self._joined(pieces, kinds.pop() if kinds else pa.null()))
        if self.plain:
            return Column(self._joined([(at, _as_json(piece)) for at, piece in pieces], pa.large_string()), True)
        values: list = []
        for at, piece in pieces:
            values += [None] * (at - len(values))
            values += piece if isinstance(piece, list) else piece.to_pylist()
        return Column(values + [None] * (self.length - len(values)))

    def _joined(self, pieces: list[tuple[int, pa.Array]], kind: pa.DataType) -> pa.Array:
        joined, length = [], 0
        for at, piece in [*pieces, (self.length, pa.array([], kind))]:
            if at > length:
                joined.append(pa.nulls(at - length, kind))
            joined.append(piece if piece.type == kind else piece.cast(kind))
            length = at + len(piece)
        return pa.concat_arrays(joined)


def packed(values: list, plain: bool = False) -> pa.Array | list:
    """Values of one kind as Arrow; else a list of them, for `plain` ones of JSON texts behind it."""
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    kind = kinds.pop()
    if not kinds and kind in KINDS and (kind is not int or _whole(values)):
        try:
            return pa.array(values, KINDS[kind])
        except (pa.ArrowException, UnicodeError):  # half surrogates in a text that is not checked yet
            return values
    return _Json(map(_json, values)) if plain else values


def repacked(column: Column) -> Column:
    """The same values in Arrow's kind, where they are of one by now."""
    values = packed(list(column), plain=True) if column.is_json else None
    return Column(values) if isinstance(values, pa.Array) else column


def _whole(values: list[int | None]) -> bool:
    return all(value is None or WHOLE[0] <= value <= WHOLE[1] for value in values)


class _Json(list):
    """JSON texts, or None, of plain values."""


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _as_json(piece: pa.Array | list) -> pa.Array:
    texts = piece if isinstance(piece, _Json) else map(_json, piece.to_pylist())
    return pa.array(texts, pa.large_string())


def row_table(rows: Iterable[Mapping[str, Any]]) -> RowTable:
    """Rows as a table."""
    builder = RowTableBuilder()
    for row in rows:
        builder.append(row)
    return builder.table()


def texts_of(names: Sequence[str]) -> Column:
    """A column of texts, kept as Arrow."""
    return Column(pa.array(names, pa.large_string()))


def numbered(prefix: str, numbers: np.ndarray) -> Column:
    """A column of `prefix` and a number each."""
    digits = pa.array(numbers).cast(pa.large_string())
    empty = pa.scalar("", pa.large_string())
    return Column(pc.binary_join_element_wise(pa.scalar(prefix, pa.large_string()), digits, empty))


def hex_column(values: np.ndarray) -> Column:
    """uint64 numbers as texts of 16 hex digits."""
    digits = values.astype(">u8").tobytes().hex().encode()
    ends = pa.py_buffer(np.arange(0, 16 * len(values) + 1, 16, dtype=np.int64))
    return Column(pa.Array.from_buffers(pa.large_string(), len(values), [None, ends, pa.py_buffer(digits)]))


def numbers_of(column: Column) -> np.ndarray:
    """What `hex_column` made texts of, uint64 `[N]`."""
    values = column.arrow
    start, end = values.offset, values.offset + len(values)
    ends = np.frombuffer(values.buffers()[1], np.int64)[start : end + 1]
    digits = values.buffers()[2][int(ends[0]) : int(ends[-1])].to_pybytes() if len(values) else b""
    return np.frombuffer(bytes.fromhex(digits.decode()), ">u8").astype(np.uint64)


def column_of(rows: Sequence[Mapping], name: str) -> Iterable[Any]:
    """One column of rows, whether they are a table or a list of dicts; None where a row lacks it."""
    if isinstance(rows, RowTable):
        return rows.columns[name] if name in rows.columns else (None,) * len(rows)
    return [row.get(name) for row in rows]


def chosen_rows(rows: Sequence[Mapping], numbers: Sequence[int]) -> Sequence[Mapping]:
    """These rows, of a table or a list of dicts."""
    return rows.chosen(numbers) if isinstance(rows, RowTable) else [rows[i] for i in numbers]


def with_column(rows: Sequence[Mapping], name: str, values: list) -> Sequence[Mapping]:
    """The same rows with plain `values` as column `name`, of a table or a list of dicts."""
    if not isinstance(rows, RowTable):
        return [{**row, name: value} for row, value in zip(rows, values, strict=True)]
    builder = RowTableBuilder(plain=True)
    for value in values:
        builder.append({name: value})
    return rows.with_column(name, builder.table([name]).columns[name])


def codes_of(values: Iterable[str]) -> tuple[np.ndarray, int]:
    """A number for each value, equal ones for equal values, in the order in which they first come; how many there
    are."""
    array = values.arrow if isinstance(values, Column) else None
    array = pa.array(values, pa.large_string()) if array is None else array
    encoded = array.dictionary_encode("encode")
    return encoded.indices.to_numpy(zero_copy_only=False), len(encoded.dictionary)
