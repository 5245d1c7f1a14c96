"""Excel sheets in which a person sees something else than the file holds."""

import openpyxl
import pytest
from openpyxl.styles import PatternFill
from small_sources import rows, splits_of

from blipvqa.data.split_names import SourceError


@pytest.fixture
def sheet(folder):
    """`sheet(change)` writes `train.xlsx` of eight rows, changed by `change(book, sheet)`, and returns its splits."""

    def written(change):
        book = openpyxl.Workbook()
        lines = rows(8)
        book.active.append(list(lines[0]))
        for line in lines:
            book.active.append(list(line.values()))
        change(book, book.active)
        book.save(folder / "train.xlsx")
        return splits_of()

    return written


def set_cell(sheet, place, value, style="General"):
    sheet[place].value, sheet[place].number_format = value, style


def test_a_percentage_is_read_as_it_is_shown(sheet):
    """Before, 50% was the answer "0.5"."""

    def change(_, one):
        for place, value, style in (("C2", 0.5, "0%"), ("C3", 0.256, "0.0%"), ("C4", 1 / 3, "0%"), ("C5", 0.5, "0.00")):
            set_cell(one, place, value, style)

    answers = [row["answer"] for split in sheet(change).values() for row in split.rows]
    assert set(answers[:4]) | set(answers) >= {"50%", "25.6%", "33%", "0.5"}


WRONG = {
    "an error": (lambda one: set_cell(one, "C2", "#N/A"), "row train/0: line 2 of train.xlsx: cell C2 shows #N/A"),
    "an error elsewhere": (lambda one: set_cell(one, "D3", "#DIV/0!"), "line 3 of train.xlsx: cell D3 shows #DIV/0!"),
    "a formula": (
        lambda one: set_cell(one, "D2", "=1+1"),
        "line 2 of train.xlsx: cell D2 is a formula without a value",
    ),
    "merged": (lambda one: one.merge_cells("D2:D4"), "D2:D4 are merged, .*, or remove the row where it is a title"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_file_does_not_hold_is_named_by_cell(sheet, name):
    """Before, errors were answers, and the others empty cells."""
    change, message = WRONG[name]
    with pytest.raises(SourceError, match=message.replace("(", r"\(")):
        sheet(lambda _, one: change(one))


def test_a_hidden_sheet_is_not_the_first_and_what_is_not_read_is_said(sheet):
    def change(book, one):
        one.title, one.sheet_state = "Old", "hidden"
        book.create_sheet("Empty")
        shown = book.create_sheet("Data", 1)
        for line in [list(rows(1)[0]), *([*list(line.values())[:3], "kidney"] for line in rows(6))]:
            shown.append(line)
        book.active = 1

    splits = sheet(change)
    assert {row["organ"] for split in splits.values() for row in split.rows} == {"kidney"}
    assert "train.xlsx: only sheet 'Data' is read, not Old" in splits.notes


def test_a_number_is_read_as_it_is_padded_or_called(sheet):
    """Patient 007 of one sheet was 7, another than '007' of the next; 5 mm was 5; 0.1 + 0.2 had seventeen digits."""
    styles = ((7, "000"), (5, '0" mm"'), (5.5, "0.0\\ \\c\\m"), (0.1 + 0.2, "General"), (-0.0, "General"), (1e15, "0"))

    def change(_, one):
        for line, (value, style) in enumerate(styles, 2):
            set_cell(one, f"C{line}", value, style)
        one.row_dimensions[3].hidden = True

    splits = sheet(change)
    answers = {row["answer"] for split in splits.values() for row in split.rows}
    assert answers >= {"007", "5 mm", "5.5 cm", "0.3", "0"}
    assert "train.xlsx: 1 row is hidden, by a filter or by hand, and read as the others are" in splits.notes


def test_empty_cells_right_of_the_head_and_far_below_it_are_no_cells(sheet):
    """Before, one coloured cell beside the table refused the whole file: "it has 8 cells, the header 4"."""

    def change(_, one):
        for place in ("H3", "J60"):
            one[place].fill = PatternFill("solid", fgColor="FFFF00")
        one["K70"].value = " "

    assert sum(map(len, sheet(change).values())) == 8


def test_a_line_end_of_windows_in_a_cell_is_no_word(sheet):
    """Excel writes it as _x000D_, which was read as part of the question."""
    splits = sheet(lambda _, one: set_cell(one, "B2", "is it_x000D_\nthere?"))
    assert "is it\r\nthere?" in {row["question"] for split in splits.values() for row in split.rows}


@pytest.mark.parametrize("lines", [["read me"], ["read me", "then this"]])
def test_which_sheet_was_read_is_said_where_it_holds_no_table(sheet, lines):
    """Before, the file was called empty, or without the columns that its second sheet has."""

    def change(book, _):
        notes = book.create_sheet("notes", 0)
        for line in lines:
            notes.append([line])

    with pytest.raises(SourceError, match="only sheet 'notes' is read, not Sheet"):
        sheet(change)
