"""JSON files: what they hold, and whether they hold rows one a line or all in one value.

Notable:
- All rows in one value are a list, or an object with one list of objects, as many programs write them (`{"data": […]}`,
  on one line or indented). An object that has a column of ours is a row; an `id` alone may be the set's.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from blipvqa.data.encodings import encoding_of
from blipvqa.data.split_names import SourceError, TableFile, ending_of, split_of
from blipvqa.data.values import DoubledObject, Unreadable, folded_name
from blipvqa.text import encodable

LONGEST_LINE = 1_000_000  # characters of a jsonl or csv line
LARGEST_JSON = 1_000_000_000  # bytes of a json file, which is read whole
LARGEST_OBJECT = 200_000_000  # bytes of a json file that is looked into for a list of rows
MOST_DIGITS = 4_300  # of a whole number: Python refuses longer ones, and JSON with them
OF_ROWS = {"image", "question", "answer", "answers", "caption", "sentence", "file_name", "id"}
LISTS_OF_ROWS = {"conversations", "conversatons", "history"}  # of one row


def _object(pairs: list[tuple[str, Any]]) -> dict:
    row = {encodable(key): value for key, value in pairs}
    return row if len(row) == len(pairs) else DoubledObject(row)


def _whole_number(digits: str) -> int | Unreadable:
    return int(digits) if len(digits) <= MOST_DIGITS else Unreadable(f"a whole number of {len(digits):,} digits")


PARSER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole_number)  # `json.loads` would make one a line


def is_json_list(path: TableFile) -> bool:
    """Whether a json or jsonl file is one value that holds all rows, and not lines of them, as many files of this
    ending are."""
    if ending_of(path) not in ("json", "jsonl"):
        return False
    with _explained(path), opened(path) as file:
        start = file.read(1000).lstrip()
    return start[:1] == "[" or rows_within(path) is not None


def rows_of_json(path: TableFile) -> list:
    """The rows of a file that `is_json_list`. Raises SourceError that names it, also where its name is a split's and
    its rows stand under another's."""
    whole, key = whole_json(path), rows_within(path)
    ours, theirs = split_of(path.name.rpartition(".")[0]), split_of(key or "")
    if ours and theirs and ours != theirs:
        raise SourceError(
            f"{path.name}: its rows stand under {key!r}, the name of another split: rename the file, or the key"
        )
    return whole if key is None else whole[key]


def rows_within(path: TableFile) -> str | None:
    """The key under which a json file that is one object holds its rows; None where it is something else."""
    if ending_of(path) != "json" or _has_row_a_line(path):
        return None
    with path.open("rb") as file:
        if file.seek(0, io.SEEK_END) > LARGEST_OBJECT:
            return None
    try:
        whole = whole_json(path)
    except SourceError:
        return None
    if not isinstance(whole, dict) or isinstance(whole, DoubledObject):
        return None
    own = OF_ROWS & set(map(folded_name, whole))
    lists = {key: [x for x in value if isinstance(x, dict)] for key, value in whole.items() if isinstance(value, list)}
    lists = {key: rows for key, rows in lists.items() if rows}
    if own - {"id"} or len(lists) != 1 or lists.keys() & LISTS_OF_ROWS:
        return None
    (key, rows), *_ = lists.items()
    of_rows = any((OF_ROWS - {"id"}) & set(map(folded_name, row)) for row in rows)
    return key if of_rows or not own else None  # an `id` alone may be a row's, or the set's


def _has_row_a_line(path: TableFile) -> bool:
    """Whether the first line is a value of its own, and another one follows; or it is no object at all."""
    with _explained(path), opened(path) as file:
        line = next((line for line in iter(lambda: file.readline(LONGEST_LINE), "") if line.strip()), "")
        if not line.lstrip().startswith("{"):
            return True
        return bool(file.read(1000).strip()) and _is_whole(line)


def _is_whole(line: str) -> bool:
    try:
        PARSER.decode(line)
    except (ValueError, RecursionError):
        return False
    return True


def whole_json(path: TableFile) -> Any:
    """What a json file holds. Raises SourceError that names it."""
    with _explained(path), path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
    if size > LARGEST_JSON:
        raise SourceError(f"{path.name} has {size:,} bytes, at most {LARGEST_JSON:,} are read: write it as jsonl")
    with _explained(path), opened(path) as text:
        return PARSER.decode(text.read())


def opened(path: TableFile) -> io.TextIOWrapper:
    """The file as text, in its own encoding, with its line ends."""
    encoding = encoding_of(path)
    return io.TextIOWrapper(path.open("rb"), encoding=encoding, newline="")


@contextmanager
def _explained(path: TableFile) -> Iterator[None]:
    """Within, what goes wrong with a json file is a SourceError that names it."""
    try:
        yield
    except UnicodeDecodeError:
        raise SourceError(f"{path.name} is not UTF-8: save it as UTF-8") from None
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(f"{path.name} is not JSON: {error}") from None
