"""Sheets for a person's verdicts: a row a case with an empty column, and what was written there, read back.

The file opens in Excel, LibreOffice and Numbers, and comes back however they saved it: with semicolons, in another
order, with columns added or rows removed. Rows are known by their `id` alone. A picture's file is called by a number
and the picture's digest, so that a verdict on another picture under the same id is noticed. A sample by strata has a
mark of who was in which, so that verdicts do not speak of strata that were others.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from blipvqa.data.dataset import VQADataset
from blipvqa.data.images import number_of
from blipvqa.data.several_pictures import pictures_of, sheet_columns
from blipvqa.errors import InputError, UserError
from blipvqa.pages.spreadsheets import SEPARATORS, unguard
from blipvqa.plural import how_many
from blipvqa.runs.files import replacing
from blipvqa.text import LOST, same_text

# what a cell `image` ends with: a file, or an id
PICTURE = re.compile(r"\d{5,}-([0-9a-f]{16})\.jpg|([0-9a-f]{16})", re.IGNORECASE)
APOSTROPHES = re.compile(f"(?:\\A|(?<=[ {SEPARATORS}]))'+")  # of the guard, or a text's own at the same place
TOLD_SEPARATOR = re.compile(r"\"?sep=([^\r\n\"])\"?[,;\t ]*(?:\r\n?|\n|\Z)", re.IGNORECASE)
DRAWN = "drawn"  # of a sample by strata: the mark of these, the same in each row, which tells nobody a row's own
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


class Sheet(NamedTuple):
    """A file as it was read, once."""

    path: Path
    rows: list[tuple[int, dict[str, str]]]  # each that is not empty, with its number in the spreadsheet


class VerdictsError(UserError, FileExistsError):
    """Writing the sheet would lose what an expert wrote into it."""


def write_sheet(path: Path, columns: Sequence[str], rows: list[dict[str, str]], judged: Sequence[str]) -> Path:
    """Write rows of guarded cells, with the verdicts of an existing file where its `judged` cells are still the same.

    Raises VerdictsError where a verdict in the file would be lost; then nothing is written.
    """
    if path.exists():
        _carry_over(path, rows, judged)
    # utf-8-sig: without its mark Excel takes the file for ANSI
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def save_pictures(dataset: VQADataset, folder: str | Path, split: str = "test", side: int = 1024) -> dict[str, str]:
    """Write each of a split's pictures to `folder/review-<split>/`, at most `side` pixels, as JPEG without metadata,
    called by a number and the picture's digest; several of one row on one sheet.

    Returns the file of each image_id, from `folder`: what `write_review` takes as `images`.
    """
    place = Path(folder) / f"review-{split}"
    place.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for i, row in enumerate(dataset.rows):
        if row["image_id"] not in files:
            name = f"{len(files) + 1:05d}-{number_of(row['image_id']):016x}.jpg"
            files[row["image_id"]] = f"{place.name}/{name}"
            image = dataset.image(i)
            most = side * sheet_columns(len(pictures_of(row)))
            image.thumbnail((most, most))
            with replacing(place / name, durable=False) as beside:  # can be made again
                image.save(beside, "JPEG", quality=90)
    return files


def mark_of_strata(strata: Mapping[str, object]) -> str:
    """What stands in column DRAWN where each id's stratum is this; no spreadsheet takes it for a number."""
    digest = hashlib.sha256(json.dumps(sorted(strata.items())).encode())
    return f"strata-{digest.hexdigest()[:16]}"


def drawn_otherwise(sheet: Sheet, strata: Mapping[str, object]) -> bool:
    """Whether a sheet was drawn from other strata than these. One of an older version, or without the column, does not
    say."""
    marks = {row[DRAWN] for _, row in sheet.rows if row.get(DRAWN)}
    return bool(marks - {mark_of_strata(strata)})


def _carry_over(path: Path, rows: list[dict[str, str]], judged: Sequence[str]) -> None:
    """Put the file's verdicts into the rows they were given on; VerdictsError if one would be lost."""
    rows_by_id = {unguard(row["id"]): row for row in rows}
    lost = []
    for _, reviewed in read_sheet(path).rows:
        row = rows_by_id.get(reviewed["id"], {})
        same = all(_same_cell(reviewed.get(key), row.get(key)) for key in judged)
        if reviewed["verdict"] and same and not _other_picture(reviewed, _digest_of(row.get("image"))):
            row["verdict"] = reviewed["verdict"]
        elif reviewed["verdict"]:
            lost.append(reviewed["id"])
    if lost:
        raise VerdictsError(
            f"{path} holds {how_many(len(lost), 'verdict')} on answers that are no longer the same or no longer there, "
            f"the first is {lost[0]!r}: move the file away to start a new review"
        )


def _same_cell(a: str | None, b: str | None) -> bool:
    """Whether two cells hold the same text, if a spreadsheet or a reviewer left out the guards of one of them."""
    if a is None or b is None:
        return False
    if LOST in a:  # of a sheet in a local encoding no letter beyond ASCII is known
        a, b = BEYOND_ASCII.sub(LOST, a), BEYOND_ASCII.sub(LOST, b)
    return same_text(_bare(a), _bare(b))


def _digest_of(cell: str | None) -> str | None:
    """The digest of the picture that a cell `image` names; None of a sheet of an older version, or without it."""
    named = PICTURE.fullmatch(re.split(r"[/\\]", unguard(cell or ""))[-1])
    return named and (named[1] or named[2]).lower()


def _other_picture(reviewed: Mapping[str, str], digest: str | None) -> bool:
    """Whether a row of a sheet names another picture than that with this digest."""
    named = _digest_of(reviewed.get("image"))
    return named is not None and digest is not None and named != digest


def _bare(cell: str) -> str:
    return APOSTROPHES.sub("", cell)


def read_sheet(path: str | Path) -> Sheet:
    """The rows that are not empty; ids without guard, verdicts in lower case.

    Only those two need to be intact, and both are ASCII: a file saved in a local encoding is read as well. Empty lines
    before the head are read over, and `sep=;` in the first line says what separates, as it does to Excel, which shows
    no row for it.
    """
    raw = Path(path).read_bytes()
    utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = raw.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    told = TOLD_SEPARATOR.match(text)
    text = text[told.end() :] if told else text
    head = next((line for line in text.splitlines() if line.strip(' ",;\t')), "")
    delimiter = told[1] if told else max(",;\t", key=head.count)
    lines = enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1)
    (_, header), *records = [(n, cells) for n, cells in lines if any(map(str.strip, cells))] or [(1, [])]
    columns = [name.strip().lower() for name in header]
    if missing := [name for name in ("id", "verdict") if name not in columns]:
        titles = ", ".join(header) or "nothing"
        raise InputError(f"{path}: no column {' and no column '.join(missing)}; the first row has {titles}")
    rows = []
    for number, record in records:
        row = dict.fromkeys(columns, "") | dict(zip(columns, map(str.strip, record), strict=False))
        if any(row.values()):
            rows.append((number, row | {"id": unguard(row["id"]), "verdict": row["verdict"].lower()}))
    return Sheet(Path(path), rows)


def sheet_verdicts(
    sheet: Sheet, by_id: Mapping[str, Mapping], verdicts: Mapping[str, str], judged: Sequence[str]
) -> dict[str, str]:
    """The verdict on each id that has one, once every row is sure to be about one of the cases `by_id`: each of their
    columns `judged`, of which the last is what was said, stands in the sheet as there, or was removed.

    Raises InputError that names the sheet's row.
    """
    rows: dict[str, int] = {}
    verdict_of = {}
    for number, row in sheet.rows:
        problem = _problem(row, by_id.get(row["id"]), rows.get(row["id"]), verdicts, judged)
        if problem:
            raise InputError(f"{sheet.path}, row {number}: {problem}")
        rows[row["id"]] = number
        if row["verdict"]:
            verdict_of[row["id"]] = row["verdict"]
    return verdict_of


def _problem(
    row: Mapping[str, str], case: Mapping | None, before: int | None, verdicts: Mapping[str, str], judged: Sequence[str]
) -> str | None:
    if not row["id"]:
        return "no id; copy it back from the file as it was written"
    if case is None:
        return f"no {judged[-1]} has the id {row['id']!r}; is this the review of another split or run?"
    if before is not None:
        return f"the id {row['id']!r} stands in row {before} already; keep one of the two"
    if not row["verdict"]:
        return None
    if row["verdict"] not in verdicts:
        return f"verdict {row['verdict']!r} on {row['id']!r} is none of {', '.join(verdicts)}, or empty"
    for name in reversed(judged):
        if row.get(name) is not None and not _same_cell(row[name], case[name]):
            return f"the verdict on {row['id']!r} is about {row[name]!r}, but the {name} is {case[name]!r}"
    if _other_picture(row, f"{number_of(case['image_id']):016x}"):
        return f"the verdict on {row['id']!r} is about another picture than there is now"
    return None
