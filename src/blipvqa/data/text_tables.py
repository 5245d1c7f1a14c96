"""Tables in text files and sheets (jsonl, json, csv, tsv, xlsx) to rows, with bounded memory; a broken line is a row
that says so.

Notable:
- Every row keeps the line on which it stands in its file, so that an error can name it.
- Cells may be separated by commas, semicolons or tabs; texts may be UTF-8, UTF-16 with its mark and, in csv, cp1252.
- Outer spaces of heads, and the empty rows and cells that Excel leaves behind others, do not count.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from blipvqa.data.columns import SYNONYMS
from blipvqa.data.json_files import LONGEST_LINE, PARSER, is_json_list, opened, rows_of_json
from blipvqa.data.raw import PlacedRow
from blipvqa.data.sheets import sheet_rows
from blipvqa.data.split_names import SourceError, TableFile, ending_of
from blipvqa.data.values import DoubledObject, folded_name, shown_name
from blipvqa.text import encodable

MOST_COLUMNS = 1_000
MOST_AGAIN = 1_000_000  # lines of a csv file that are read again after broken rows
TITLES = 10  # lines after the first in which the head may stand, below a title
HEADS = ("image", "question", "answer", "answers", "caption", "file_name", "id")  # that tell a separator from a comma
KNOWN = {*HEADS, *(name for names in SYNONYMS.values() for name in names if len(name) > 1)}  # that tell a head


def read_text_table(path: TableFile) -> Iterator[PlacedRow]:
    """(line, row), or (line, problem), of each row of a jsonl, json, csv, tsv or xlsx file; for json the number of the
    element.

    Raises SourceError for what makes the whole file unusable.
    """
    seen: set[str] = set()
    readers = {"jsonl": _json, "json": _json, "csv": _csv, "tsv": _csv, "xlsx": _xlsx}
    for line, row in readers[ending_of(path)](path):
        if isinstance(row, dict):
            seen |= row.keys()
            if len(seen) > MOST_COLUMNS:
                raise SourceError(f"{path.name} line {line}: more than {MOST_COLUMNS:,} columns")
        yield line, row


def _jsonl(path: TableFile) -> Iterator[PlacedRow]:
    for line, text in _lines(path):
        if text.strip():
            yield line, _row(text.lstrip("\ufeff"))  # files put together keep the mark of each


def _row(text: str) -> dict | str:
    try:
        row = checked_row(PARSER.decode(text))
    except (ValueError, RecursionError) as error:
        many = ". A row stands on one line" * (text.strip() in ("{", "["))
        return f"it is not JSON: {error}{many}"
    if isinstance(row, dict) and row and all(isinstance(value, dict | list) for value in row.values()):
        names = ", ".join(map(repr, list(row)[:3]))
        return f"it is no row, {names} hold lists or objects: write a list of rows, or a row on each line"
    return row


def checked_row(row: Any) -> dict | str:
    """A row that was parsed, or what is wrong with it."""
    if isinstance(row, DoubledObject):
        return "a key stands twice"
    return row if isinstance(row, dict) else "it is no JSON object"


def _json(path: TableFile) -> Iterator[PlacedRow]:
    if not is_json_list(path):
        yield from _jsonl(path)
        return
    yield from ((number, checked_row(row)) for number, row in enumerate(rows_of_json(path), 1))


class _Lines:
    """The lines of a file, for a reader that may take several for a row: those after the first can be given back."""

    def __init__(self, path: TableFile):
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


def _csv(path: TableFile) -> Iterator[PlacedRow]:
    """A broken row is its first line alone: a quote that is never closed takes no other rows with it."""
    lines = _Lines(path)
    reader = csv.reader(lines, strict=True, delimiter=_separator(lines, path))
    heads = None
    empty = _EmptyRows()
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
        if heads is None and (cells or problem):
            if problem:
                raise SourceError(f"{path.name} line {line}: the header does not read as csv: {problem}")
            heads = _Heads(path.name, line, cells)
            continue
        row = problem or (heads.row(line, cells) if cells else None)
        if isinstance(row, str):
            lines.give_back()
        if row is not None:
            yield from empty.before(line, row)


def _separator(lines: _Lines, path: TableFile) -> str:
    """What stands between cells: the mark that gives the most heads that we know, or else the most heads."""
    first = next(lines, "")
    if named := re.fullmatch(r"sep=(.)\s*", first):  # Excel's own line, which is no row
        return named[1]
    if first:
        lines.returned.append(lines.taken[-1])
    bare = re.sub(r'"[^"]*"', lambda quoted: re.sub(r"[,;\t|]", "", quoted[0]), first)

    def heads(mark: str) -> tuple[int, int]:
        cells = [folded_name(cell.strip('"')) for cell in bare.split(mark)]
        return sum(head in cells for head in HEADS), len(cells)

    return max("\t,;" if ending_of(path) == "tsv" else ",;\t", key=heads)


def _xlsx(path: TableFile) -> Iterator[PlacedRow]:
    heads, empty = None, _EmptyRows()
    for line, cells in sheet_rows(path):
        if isinstance(cells, str):
            if heads is None:
                raise SourceError(f"{path.name} line {line}: {cells}")
            yield from empty.before(line, cells)
        elif heads is not None:
            yield from empty.before(line, heads.row(line, cells + [""] * (len(heads.columns) - len(cells))))
        elif any(cells):
            heads = _Heads(path.name, line, cells)


class _EmptyRows:
    """Rows of empty cells count only where another row follows: Excel leaves thousands at the end."""

    def __init__(self):
        self.waiting: list[tuple[int, dict]] = []

    def before(self, line: int, row: dict | str) -> Iterator[PlacedRow]:
        if isinstance(row, dict) and not any(cell.strip() for cell in row.values()):
            self.waiting.append((line, row))
            return
        yield from self.waiting
        self.waiting = []
        yield line, row


class _Heads:
    """The names of the columns. Raises SourceError where they are none, for they would be wrong for every row; where a
    title stands above them, once the row that holds them is read."""

    def __init__(self, file: str, line: int, cells: list[str]):
        self.file, self.line = file, line
        columns = [shown_name(encodable(cell)) for cell in cells]
        while len(columns) > 1 and not columns[-1]:
            columns.pop()
        if len(columns) == 1 and "|" in columns[0]:
            raise SourceError(f"{file}: its cells are separated by '|', expected commas, semicolons or tabs")
        first: dict[str, str] = {}
        for column, cell in zip(columns, cells, strict=False):
            if (same := first.setdefault(folded_name(column), cell)) is not cell:
                what = f"{same!r} and {cell!r} are one name" if same != cell else f"{cell!r} stands twice"
                raise SourceError(f"{file}: a column name stands twice in {', '.join(cells)}: {what}")
        self.columns = columns
        self.are_known = _known(columns) > 0

    def row(self, line: int, cells: list[str]) -> dict | str:
        """The row of these cells, or what is wrong with it."""
        count = len(self.columns)
        if not self.are_known and line - self.line <= TITLES and _known(cells) > 1:
            raise SourceError(
                f"{self.file} line {line}: it looks like the head of the table ({', '.join(filter(None, cells)):.80}), "
                f"below '{self.columns[0]:.60}' in line {self.line}: remove the lines above it"
            )
        if len(cells) < count or any(cell.strip() for cell in cells[count:]):
            title = f" ('{self.columns[0]:.60}', line {self.line}: remove it where it is a title)" * (count == 1)
            return f"it has {len(cells)} cells, the header {count}{title}"
        return dict(zip(self.columns, cells, strict=False))


def _known(cells: list[str]) -> int:
    """How many cells are a name of a column that we know."""
    return sum(folded_name(cell) in KNOWN for cell in cells)


def _lines(path: TableFile) -> Iterator[tuple[int, str]]:
    """(number, text) of each line. Raises SourceError for another encoding, or a line beyond all measure."""
    number = 0
    try:
        with opened(path) as file:
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
