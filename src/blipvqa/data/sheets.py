"""The first sheet of an Excel file as rows of texts, as a csv file of it would hold them.

Notable:
- Formulas count by the value that Excel stored, numbers as they are shown (007, 50%, 5 mm), dates in ISO form.
- Merged cells, formulas without a value and Excel's errors (#N/A) are named: a person sees something else there than
  the file holds. Hidden sheets are not taken for the first; a note says which sheets were not read, and that hidden
  rows were.
- What the file asks for is read from its zip directory first.
"""

from __future__ import annotations

import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_HALF_UP, Decimal
from string import ascii_uppercase
from typing import Any

from blipvqa.data.split_names import SourceError, TableFile
from blipvqa.plural import how_many

LARGEST = 500_000_000  # bytes of the sheets, unpacked
LARGEST_FILE = 200_000_000  # bytes of the file
STRANGEST_RATIO = 500  # unpacked to packed: sheets of texts pack to a tenth, of numbers to a fiftieth
MOST_CELLS = 16_384  # of a row, Excel's own bound
MERGED = re.compile(rb'<mergeCell [^>]*ref="([A-Z0-9:]+)"')
VALUELESS = re.compile(  # a formula whose result is an empty text says t="str"
    rb'<c (?![^>]*t="str")[^>]*r="([A-Z]+[0-9]+)"[^>]*>\s*'
    rb"<f(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)
ESCAPED = re.compile("_x00([01][0-9A-F])_")  # a character that XML has no form for: the \\r of texts from Windows
HIDDEN_ROW = re.compile(rb'<row [^>]*hidden="(?:1|true)"')
QUOTED = r'(?:"([^"]*)")?'
FORMAT = re.compile(rf"{QUOTED}(0+)(?:[.](0+))?( ?%?){QUOTED}")  # 000, 0.0%, 0" mm"


def sheet_rows(path: TableFile) -> Iterator[tuple[int, list[str] | str]]:
    """(number of the row in the sheet, its cells as texts, or what is wrong with it). Raises SourceError that names the
    file."""
    with _workbook(path) as (book, content):
        sheet = _shown_sheets(book, path)[0]
        valueless = _look_inside(content, sheet, path)
        sheet.reset_dimensions()  # what the file says of its size may be wrong
        for number, cells in enumerate(sheet.iter_rows(), 1):
            errors = [f"cell {cell.coordinate} shows {cell.value}" for cell in cells if cell.data_type == "e"]
            errors += valueless.get(number, [])
            yield number, errors[0] if errors else [_text(cell) for cell in cells[:MOST_CELLS]]


def sheet_notes(path: TableFile) -> list[str]:
    """Lines on sheets that hold something and are not read, and on hidden rows, which are."""
    notes = []
    with _workbook(path) as (book, content):
        first = _shown_sheets(book, path)[0]
        others = [one.title for one in book.worksheets if one is not first and _holds_something(one)]
        hidden = len(HIDDEN_ROW.findall(_xml(content, first)))
    if others:
        notes.append(f"{path.name}: only sheet '{first.title}' is read, not {', '.join(others)}")
    if hidden:
        notes.append(
            f"{path.name}: {how_many(hidden, 'row is', 'rows are')} hidden, by a filter or by hand, and read as the "
            "others are"
        )
    return notes


def _xml(content: bytes, sheet) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.read(sheet._worksheet_path)


@contextmanager
def _workbook(path: TableFile) -> Iterator[tuple[Any, bytes]]:
    """The workbook and the file's bytes; within, what goes wrong is a SourceError that names the file."""
    from openpyxl import load_workbook  # half a second that most sources do not need

    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    _check(content, path.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles that are not read
            yield load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False), content
    except SourceError:
        raise
    except Exception as error:  # openpyxl raises many kinds for a file that is damaged
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SourceError(f"{path.name} does not read as xlsx: {reason}. Save it as CSV UTF-8") from None


def _shown_sheets(book, path: TableFile) -> list:
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    if not sheets:
        raise SourceError(f"{path.name} has no sheet that is not hidden")
    return sheets


def _holds_something(sheet) -> bool:
    return any(cell is not None for cells in sheet.iter_rows(values_only=True) for cell in cells)


def _look_inside(content: bytes, sheet, path: TableFile) -> dict[int, list[str]]:
    """By row, the formulas that no program has calculated; the library gives them as empty. Raises SourceError for
    merged cells, of which it gives all but the first as empty."""
    text = _xml(content, sheet)
    if merged := MERGED.search(text):
        cells = merged[1].decode()
        raise SourceError(
            f"{path.name}: cells {cells} are merged, one of them holds the value: unmerge and fill them, or remove the "
            "row where it is a title above the table"
        )
    valueless: dict[int, list[str]] = {}
    for match in VALUELESS.finditer(text):
        cell = match[1].decode()
        problem = f"cell {cell} is a formula without a value: open and save the file in Excel"
        valueless.setdefault(int(cell.lstrip(ascii_uppercase)), []).append(problem)
    return valueless


def _check(content: bytes, name: str) -> None:
    if len(content) > LARGEST_FILE:
        raise SourceError(f"{name} has more than {LARGEST_FILE:,} bytes: save it as CSV UTF-8")
    try:
        members = zipfile.ZipFile(io.BytesIO(content)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise SourceError(f"{name} does not read as xlsx: save it as xlsx, or as CSV UTF-8") from None
    size, packed = sum(one.file_size for one in members), sum(one.compress_size for one in members)
    if size > LARGEST or (size > LARGEST // 50 and size > STRANGEST_RATIO * max(packed, 1)):
        raise SourceError(f"{name} asks for {size:,} bytes of {packed:,}: save it as CSV UTF-8")


def _shown(value: float, number_format: str) -> str:
    """A number as Excel shows it, where its format pads, adds a text or is a percentage; else all of it, in the 15
    digits that Excel counts with."""
    form = FORMAT.fullmatch(re.sub(r"\\(.)", r'"\1"', number_format.split(";")[0]).replace('""', ""))
    before, whole, decimals, percent, behind = form.groups() if form else ("", "", "", "", "")
    added = before or percent.strip() or behind
    if not whole or abs(value) >= 1e15 or not (added or (len(whole) > 1 and not decimals)):
        return str(value) if isinstance(value, int) or abs(value) >= 1e15 else f"{value + 0.0:.15g}"
    places = len(decimals or "")
    number = Decimal(f"{value:.15g}") * (100 if percent.strip() else 1)
    number = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    width = len(whole) + (places + 1) * bool(places) + (number < 0)
    return f"{before or ''}{number:0{width}f}{percent}{behind or ''}"


def _text(cell) -> str:
    """A cell as Excel writes it to csv; dates in ISO form."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return _shown(value, cell.number_format)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), str(value))
