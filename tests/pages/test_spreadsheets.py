"""Cells that a spreadsheet neither calculates nor dates, whatever separator it splits the file at."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blipvqa.data.sheets import sheet_rows
from blipvqa.pages.spreadsheets import guard, unguard, write_workbook

SIGNS = "=+-@＝＋－＠"
ATTACKS = [
    "=HYPERLINK(1)",
    "fat;=1+1",
    "fat; =1+1;",
    'fat;"=1+1"',
    'x","=1+1',
    "fat\t@SUM(1)",
    "fat\n=cmd|' /C calc'!A0",
    "fat\r\n+1",
    "a,-1+1|2",
    "a =1+1",
    "fat;\u200b=1",
    "fat;'=1+1",
    ";;;==",
    "3 -4",
    "fat;＝1+1",
]


def fields(text: str, separator: str, quoting: int) -> list[str]:
    """The cells that a program finds which splits at `separator`, with quotes or without."""
    if quoting == csv.QUOTE_NONE:  # and without a rule for line breaks either
        return [field for line in text.splitlines() for field in line.split(separator)]
    return [field for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for field in row]


@pytest.mark.parametrize("cell", ATTACKS)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ":", " "])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_NONE])
def test_no_separator_makes_a_formula_of_a_cell(cell, separator, quoting):
    file = io.StringIO()
    csv.writer(file).writerows([["test/0", guard(cell), guard("fat"), ""], ["test/1", guard("fat"), guard(cell), ""]])
    for field in fields(file.getvalue(), separator, quoting):
        start = field.lstrip('\u200b" \t\r\n')
        assert not start.startswith(tuple(SIGNS)) or start in SIGNS, field


@settings(deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="ab=+-@\t\r\n '\";,|:3/.m\x00\u200b＝")))
def test_the_text_comes_back_unchanged(text):
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", ["yes", "t-cell", "3 cm", "x=1", "'flea bitten kidney '", "marked - yes", "a; b", ""])
def test_ordinary_text_is_left_alone(text):
    assert guard(text) == text


def test_an_excel_file_gives_back_what_was_written_but_for_what_xml_cannot_hold(tmp_path):
    texts = [*ATTACKS, "1.2", "3-4", "001", "TRUE", " a ", "naïve 🩻", "x" * 40_000, "bell\x07 \ud800 \x00end", "a\nb"]
    write_workbook(tmp_path / "a.xlsx", ["text", "number"], [[text, -5] for text in texts] + [[None, float("nan")]])
    (_, *rows) = (cells for _, cells in sheet_rows(tmp_path / "a.xlsx"))
    back = [row[0] for row in rows]
    assert back[:-4] == texts[:-3]
    assert back[-4:] == ["x" * 32_767, "bell\ufffd \ufffd \ufffdend", "a\nb", ""]
    assert {row[1] for row in rows} == {"-5", "nan"}
