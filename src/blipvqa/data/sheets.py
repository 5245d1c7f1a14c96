"""The first sheet of an Excel file as rows of texts, as a csv file of it would hold them.

Formulas count by the value that Excel stored. What the file asks for is read from its zip directory first.
"""

from __future__ import annotations

import datetime
import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from blipvqa.data.split_names import SourceError, TableFile

LARGEST = 500_000_000  # bytes of the sheets, unpacked
LARGEST_FILE = 200_000_000  # bytes of the file
STRANGEST_RATIO = 500  # unpacked to packed: sheets of texts pack to a tenth, of numbers to a fiftieth
MOST_CELLS = 16_384  # of a row, Excel's own bound


def sheet_rows(path: TableFile) -> Iterator[tuple[int, list[str]]]:
    """(number of the row in the sheet, its cells as texts). Raises SourceError that names the file."""
    from openpyxl import load_workbook  # half a second that most sources do not need

    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    _check(content, path.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles that are not read
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what the file says of its size may be wrong
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                yield number, [_text(cell) for cell in cells[:MOST_CELLS]]
    except SourceError:
        raise
    except Exception as error:  # openpyxl raises many kinds for a file that is damaged
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SourceError(f"{path.name} does not read as xlsx: {reason}. Save it as CSV UTF-8") from None


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


def _text(cell: Any) -> str:
    """A cell as Excel writes it to csv; dates in ISO form."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return str(cell)
