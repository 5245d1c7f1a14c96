"""Arrow columns to Python values: nothing is decoded, and what would not fit into memory is refused before it is made.

Notable:
- Further columns that hold files (pictures, sound, video, pages, in lists too) are left out with a note: no decoder
  ever sees them, no path or URL in them is opened.
- Repeated values stay one value (dictionaries), so a small file that repeats a large text is seen for what it asks.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from blipvqa.data.row_table import packed
from blipvqa.data.split_names import SourceError
from blipvqa.data.values import Unreadable, bytes_as_text

MOST_ROWS = 5_000_000  # of a split
MOST_BYTES = 2_000_000_000  # of all texts and further columns of a split, once they are unpacked
BATCH_BYTES = 64_000_000  # unpacked at a time


def holds_files(kind: pa.DataType) -> bool:
    """Whether a type is that of files: bytes beside a path, or bytes inside lists and structs."""
    if pa.types.is_struct(kind):
        names = {kind.field(i).name for i in range(kind.num_fields)}
        return {"bytes", "path"} <= names or any(
            _has_bytes(kind.field(i).type) or holds_files(kind.field(i).type) for i in range(kind.num_fields)
        )
    if pa.types.is_map(kind):
        return _has_bytes(kind.item_type) or holds_files(kind.item_type)
    if pa.types.is_nested(kind) and kind.num_fields:
        inner = [kind.field(i).type for i in range(kind.num_fields)]
        return any(_has_bytes(one) or holds_files(one) for one in inner)
    return False


def _has_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _has_bytes(kind.value_type)
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )


def check_schema(schema: pa.Schema, image: str, texts: tuple[str, ...], where: str) -> tuple[list[str], list[str]]:
    """(the columns to read besides `image`, notes on those that are left out).

    Raises SourceError for a column `image` without pictures, for one of `texts` without text, and for a name that
    stands twice.
    """
    if twice := [name for name in schema.names if schema.names.count(name) > 1]:
        raise SourceError(f"{where}: column {twice[0]} stands twice: rename or remove one of them")
    columns, files = [], []
    for column in schema:
        kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
        if column.name == image:
            one = kind.value_type if _is_list(kind) else kind
            if not (holds_one_file(one) or _has_bytes(one) or is_text(one)):
                raise SourceError(f"{where}: column {image} holds {kind}, expected pictures, their bytes, or paths")
        elif column.name in texts and not is_text(kind):
            raise SourceError(f"{where}: column {column.name} holds {kind}, expected text")
        elif holds_files(kind):
            files.append(column.name)
        else:
            columns.append(column.name)
    if files and image not in schema.names:
        return columns, [f"column `{files[0]}` holds pictures: set data.columns.{files[0]}=image"]
    notes = [f"{where}: further columns that hold files are left out, undecoded: {', '.join(files)}"] if files else []
    return columns, notes


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def holds_one_file(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}


class Budget:
    """How much a split may still unpack; `spend` raises SourceError that names `where` when it is too much."""

    def __init__(self, where: str, most: int = MOST_BYTES):
        self.where, self.left = where, most

    def spend(self, count: int, what: str) -> None:
        self.left -= count
        if self.left < 0:
            raise SourceError(
                f"{self.where}: its {what} ask for more than {MOST_BYTES / 1e9:.0f} GB of memory once unpacked. "
                "Leave out columns that are not needed, or give fewer rows"
            )


def table_values(values: pa.Array, budget: Budget, name: str) -> pa.Array | list[Any]:
    """A column's values as a row table keeps them. One that Python cannot hold (a date after the year 9999) is
    `Unreadable`."""
    budget.spend(_unpacked_bytes(values), f"values of column {name}")
    values = values.storage if isinstance(values, pa.ExtensionArray) else values
    kind = _table_kind(values.type)
    if kind is not None:
        try:
            values.validate(full=True)  # a text that is not UTF-8 is found here
            return values.cast(kind)
        except pa.ArrowException:
            pass  # one value among thousands: each is looked at by itself
    return packed(_chunk_values(values))


def _table_kind(kind: pa.DataType) -> pa.DataType | None:
    """In what kind a row table keeps values of `kind`; None where it keeps what Python makes of them."""
    if is_text(kind):
        return pa.large_string()
    if pa.types.is_integer(kind):
        return pa.int64()
    return {pa.float32(): pa.float64(), pa.float64(): pa.float64(), pa.bool_(): pa.bool_()}.get(kind)


def _chunk_values(chunk: pa.Array) -> list[Any]:
    if isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    if pa.types.is_dictionary(chunk.type):  # a repeated value is made once
        distinct = _chunk_values(chunk.dictionary)
        return [None if index is None else distinct[index] for index in chunk.indices.to_pylist()]
    try:
        values = chunk.to_pylist()
    except Exception:  # pyarrow raises many kinds, for one value among thousands: find out which
        values = [_one_value(value) for value in chunk]
    return [bytes_as_text(value) if isinstance(value, bytes) else value for value in values]


def _one_value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except Exception as error:  # as above
        return Unreadable(f"a value of type {value.type} that does not read ({type(error).__name__})")


def _unpacked_bytes(array: pa.Array) -> int:
    """Bytes of all values, each repeated one counted as often as it comes."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _unpacked_bytes(array.storage)
    if pa.types.is_dictionary(kind):
        inner = array.dictionary.type
        if pa.types.is_binary(inner) or pa.types.is_string(inner) or pa.types.is_large_string(inner):
            lengths = pc.binary_length(array.dictionary).cast(pa.int64())
            return pc.sum(lengths.take(array.indices)).as_py() or 0
        return len(array) * 8
    if pa.types.is_struct(kind):
        return sum(map(_unpacked_bytes, array.flatten()))
    if _is_list(kind):
        return _unpacked_bytes(array.flatten())
    return array.nbytes


def picture_cells(array: pa.Array) -> list[Any]:
    """The cells of column `image`: a buffer of bytes, a path, or None; or a list of these. No bytes are copied."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return picture_cells(array.storage)
    if pa.types.is_dictionary(kind):
        distinct = picture_cells(array.dictionary)
        return [None if index is None else distinct[index] for index in array.indices.to_pylist()]
    if pa.types.is_struct(kind):
        fields = dict(zip([kind.field(i).name for i in range(kind.num_fields)], array.flatten(), strict=True))
        contents, paths = picture_cells(fields["bytes"]), _chunk_values(fields["path"])
        return [path if content is None else content for content, path in zip(contents, paths, strict=True)]
    if _is_list(kind):
        cells, lengths = iter(picture_cells(array.flatten())), pc.list_value_length(array).to_pylist()
        return [None if length is None else list(islice(cells, length)) for length in lengths]
    if _has_bytes(kind):
        return [memoryview(value.as_buffer()) if value.is_valid else None for value in array]
    return array.to_pylist()
