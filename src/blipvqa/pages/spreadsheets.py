"""Sheets of answers as CSV or Excel files, in which no cell is calculated or dated, and the same cells read back.

Notable:
- In an Excel file every text says that it is one. In a CSV file it cannot, and is guarded.
- A program may split the file at another character than the comma: in much of Europe at the semicolon. A cell
  `fat;=1+1` then becomes two, and the second is a formula. Quotes do not help, because they no longer open a cell. So
  an apostrophe stands wherever a formula could begin: at the cell's start and after every character that may split it.
- `unguard` removes exactly the apostrophes that `guard` inserted, for any text.

Source of the signs: OWASP, "CSV injection"; the last four are = + - @ in full width.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from blipvqa.errors import InputError
from blipvqa.runs.files import replacing

SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
SEPARATORS = ",;:|\t\r\n"
# what a program drops or reads over before the first sign: white space, quotes, characters without width
_PASSED_OVER = "[\\s\"'\x00-\x1f\u200b-\u200f\u2060\ufeff]*"
_PLACES = (
    f"\\A{{0}}(?={_PASSED_OVER}[{SIGNS}\t\r\n])"
    f"|(?<=[{SEPARATORS}]){{0}}(?={_PASSED_OVER}[{SIGNS}])"
    # a space may split as well, but "marked - yes" is ordinary text, and "-" alone is no formula
    f"|(?<= ){{0}}(?=[\"']*[{SIGNS}]\\S)"
)
_BEFORE_A_FORMULA = re.compile(_PLACES.format(""))
_GUARDED = re.compile(_PLACES.format("'"))
# dates, to a spreadsheet: "3-4", "1/2", in some countries "3.4", and the genes MARCH1 and SEPT9
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MOST_ROWS, LONGEST_CELL = 1_048_576, 32_767  # rows of a sheet and characters of a cell, by Excel's specification
_DATE = re.compile(rf"[\s']*(?:\d+(?:\s*[-/.:]\s*\d+)+|{_MONTH}[ -]?\d+)\s*", re.IGNORECASE)


def guard(cell: str) -> str:
    """The cell with an apostrophe before all that a spreadsheet would calculate ("=1+1", "-5") or date ("3-4")."""
    guarded = _BEFORE_A_FORMULA.sub("'", cell)
    return f"'{guarded}" if _DATE.fullmatch(cell) else guarded


def unguard(cell: str) -> str:
    """The text of which `guard` made this cell."""
    text = _GUARDED.sub("", cell)
    return text[1:] if text.startswith("'") and _DATE.fullmatch(text[1:]) else text


def write_sheet(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """A CSV file that opens in Excel, LibreOffice and Numbers: a head, and each row's values, texts guarded."""
    # utf-8-sig: without its mark Excel takes the file for ANSI
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(map(_cell, columns))
        writer.writerows(map(_cell, row) for row in rows)


def write_workbook(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """An Excel file of one sheet: a head that stays in sight, and each row's values. Raises InputError where the sheet
    would be longer than Excel's."""
    from openpyxl import Workbook  # half a second that most sheets do not need
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    sheet = book.create_sheet("answers")
    sheet.freeze_panes = "A2"

    def cell(value):
        if value is None or isinstance(value, int | float):
            return value if value is None or math.isfinite(value) else str(value)
        made = WriteOnlyCell(sheet, _text(value))
        made.data_type = "s"  # "=1+1" would be a formula
        return made

    sheet.append([cell(name) for name in columns])
    for count, row in enumerate(rows, 1):
        if count >= MOST_ROWS:
            raise InputError(f"{Path(path).name}: Excel's sheets have {MOST_ROWS:,} rows at most: write .csv or .jsonl")
        sheet.append([cell(value) for value in row])
    with replacing(path) as beside:
        book.save(beside)


def _text(value) -> str:
    """A value as an Excel cell's text: characters that XML does not have are replaced, and what is too long is cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)[:LONGEST_CELL]


def _cell(value) -> str:
    """A value as a cell's text: nothing is empty, numbers and true or false are JSON's, so are lists and objects."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return json.dumps(value)  # -5 is a number here, and meant to be one
    return guard(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
