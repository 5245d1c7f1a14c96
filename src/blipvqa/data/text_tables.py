"""Tables in text files (jsonl, json, csv) to rows, with bounded memory; a broken line is a row that says so.

Every row keeps the line on which it stands, so that an error can name it.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blipvqa.data.split_names import SourceError
from blipvqa.data.values import DoubledObject, Unreadable, encodable

LONGEST_LINE = 1_000_000  # characters of a jsonl or csv line
LARGEST_JSON = 1_000_000_000  # bytes of a json file, which is read whole
MOST_COLUMNS = 1_000
MOST_AGAIN = 1_000_000  # lines of a csv file that are read again after broken rows
MOST_DIGITS = 4_300  # of a whole number: Python refuses longer ones, and JSON with them

Line = tuple[int, dict | str]  # the line's number, and its row or what is wrong with it


def read_text_table(path: Path) -> Iterator[Line]:
    """(line, row), or (line, problem), of each row of a jsonl, json or csv file; for json the number of the element.

    Raises SourceError for what makes the whole file unusable.
    """
    seen: set[str] = set()
    for line, row in {"jsonl": _jsonl, "json": _json, "csv": _csv}[path.suffix.lower().lstrip(".")](path):
        if isinstance(row, dict):
            seen |= row.keys()
            if len(seen) > MOST_COLUMNS:
                raise SourceError(f"{path.name} line {line}: more than {MOST_COLUMNS:,} columns")
        yield line, row


def _jsonl(path: Path) -> Iterator[Line]:
    for line, text in _lines(path):
        if text.strip():
            yield line, _row(text.lstrip("\ufeff"))  # files put together keep the mark of each


def _row(text: str) -> dict | str:
    try:
        return _checked(_parsed(text))
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"


def _checked(row: Any) -> dict | str:
    if isinstance(row, DoubledObject):
        return "a key stands twice"
    return row if isinstance(row, dict) else "it is no JSON object"


def _parsed(text: str) -> Any:
    return PARSER.decode(text)


def _object(pairs: list[tuple[str, Any]]) -> dict:
    row = {encodable(key): value for key, value in pairs}
    return row if len(row) == len(pairs) else DoubledObject(row)


def _whole_number(digits: str) -> int | Unreadable:
    return int(digits) if len(digits) <= MOST_DIGITS else Unreadable(f"a whole number of {len(digits):,} digits")


PARSER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole_number)  # `json.loads` would make one a line


def is_json_list(path: Path) -> bool:
    """Whether a json file is a list of objects, and not lines of them, as many files of this ending are."""
    if path.suffix.lower() != ".json":
        return False
    with _explained(path), open(path, encoding="utf-8-sig") as file:
        return file.read(1000).lstrip()[:1] == "["
    return False


def _json(path: Path) -> Iterator[Line]:
    if not is_json_list(path):
        yield from _jsonl(path)
        return
    with _explained(path):
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise SourceError(f"{path.name} has {size:,} bytes, at most {LARGEST_JSON:,} are read: write it as jsonl")
        rows = _parsed(path.read_text(encoding="utf-8-sig"))
    yield from ((number, _checked(row)) for number, row in enumerate(rows, 1))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Within, what goes wrong with a json file is a SourceError that names it."""
    try:
        yield
    except UnicodeDecodeError:
        raise SourceError(f"{path.name} is not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(f"{path.name} is not JSON: {error}") from None


class _Lines:
    """The lines of a file, for a reader that may take several for a row: those after the first can be given back."""

    def __init__(self, path: Path):
        self.path, self.rest, self.returned = path, _lines(path), deque()
        self.again = 0  # lines that were read twice
        self.taken: list[tuple[int, str]] = []  # of the row that is being read

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.taken.append(self.returned.popleft() if self.returned else next(self.rest))
        return self.taken[-1][1]

    def give_back(self) -> None:
        self.again += len(self.taken) - 1
        if self.again > MOST_AGAIN:
            raise SourceError(f"{self.path.name} line {self.taken[0][0]}: too many quotes are opened and never closed")
        self.returned.extendleft(reversed(self.taken[1:]))


def _csv(path: Path) -> Iterator[Line]:
    """A broken row is its first line alone: a quote that is never closed takes no other rows with it."""
    lines = _Lines(path)
    reader = csv.reader(lines, strict=True)
    columns = None
    while True:
        lines.taken = []
        cells, problem = [], ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = str(error).replace("unexpected end of data", "a quote opens here and is never closed")
        line = lines.taken[0][0]
        if columns is None and (cells or problem):
            columns = _csv_header(path, line, cells, problem)
            continue
        if cells and len(cells) != len(columns):
            problem = f"it has {len(cells)} cells, the header {len(columns)}"
        if problem:
            lines.give_back()
            yield line, problem
        elif cells:
            yield line, dict(zip(columns, cells, strict=True))


def _csv_header(path: Path, line: int, cells: list[str], problem: str) -> list[str]:
    """The names of the columns. Raises SourceError where they are none, for they would be wrong for every row."""
    if problem:
        raise SourceError(f"{path.name} line {line}: the header does not read as csv: {problem}")
    columns = [encodable(cell) for cell in cells]
    if len(columns) == 1 and (other := next((mark for mark in ";\t|" if mark in columns[0]), None)):
        raise SourceError(f"{path.name}: its cells are separated by {other!r}, expected commas")
    if len(set(columns)) < len(columns):
        raise SourceError(f"{path.name}: a column name stands twice in {', '.join(columns)}")
    return columns


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of each line. Raises SourceError for another encoding, or a line beyond all measure."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            number = 0
            while text := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(text) > LONGEST_LINE:
                    raise SourceError(f"{path.name} line {number}: longer than {LONGEST_LINE:,} characters")
                yield number, text
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path.name} is not UTF-8 (near byte {error.start} of a block after line {number}): save it as UTF-8"
        ) from None
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror}") from None
