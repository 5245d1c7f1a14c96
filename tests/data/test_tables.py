"""Tables as spreadsheets and scripts save them: separators, encodings, sheets, heads, empty rows; the file's own lines."""

import io
import json

import pytest
from openpyxl import Workbook
from small_sources import rows, splits_of

from blipvqa.data.images import ImageError
from blipvqa.data.split_names import SourceError

HEADS = ["image", "question", "answer", "organ"]


def cells(count=12):
    return [HEADS, *([row[name] for name in HEADS] for row in rows(count))]


def csv_of(table, separator=",", end="\r\n"):
    return "".join(separator.join(f'"{cell}"' if separator in cell else cell for cell in line) + end for line in table)


def xlsx_of(table):
    book = Workbook()
    for line in table:
        book.active.append(line)
    book.create_sheet("more").append(["not read"])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def with_accents(table):
    return [[cell.replace("what", "où – ") for cell in line] for line in table]


def objects(table):
    return [dict(zip(HEADS, line, strict=True)) for line in table[1:]]


FORMS = {
    "semicolons": ("csv", lambda table: csv_of(table, ";").encode()),
    "tabs": ("csv", lambda table: csv_of(table, "\t").encode()),
    "tsv": ("tsv", lambda table: csv_of(table, "\t").encode()),
    "excel's sep": ("csv", lambda table: ("sep=;\r\n" + csv_of(table, ";")).encode()),
    "mark": ("csv", lambda table: csv_of(table).encode("utf-8-sig")),
    "utf-16": ("csv", lambda table: csv_of(table, "\t").encode("utf-16")),
    "utf-32": ("csv", lambda table: csv_of(table, ",").encode("utf-32")),
    "utf-16, big end first": ("csv", lambda table: b"\xfe\xff" + csv_of(table, ";").encode("utf-16-be")),
    "cp1252": ("csv", lambda table: csv_of(table, ";").encode("cp1252")),
    "old line ends": ("csv", lambda table: csv_of(table, end="\r").encode()),
    "xlsx": ("xlsx", xlsx_of),
    "json": ("json", lambda table: json.dumps(objects(table)).encode()),
    "json in an object": ("json", lambda table: json.dumps({"version": 1, "data": objects(table)}).encode()),
    "json, indented": ("json", lambda table: json.dumps({"info": {}, "rows": objects(table)}, indent=1).encode()),
    "jsonl that is a list": ("jsonl", lambda table: json.dumps(objects(table)).encode()),
    "json, utf-16": (
        "json",
        lambda table: json.dumps(
            [dict(zip(HEADS, line, strict=True)) for line in table[1:]], ensure_ascii=False
        ).encode("utf-16"),
    ),
    "jsonl in utf-16": (
        "jsonl",
        lambda table: "\n".join(json.dumps(dict(zip(HEADS, line, strict=True))) for line in table[1:]).encode("utf-16"),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_gives_the_same_rows(folder, form):
    ending, make = FORMS[form]
    table = with_accents(cells())
    (folder / f"train.{ending}").write_bytes(make(table))
    splits = splits_of()
    read = {row["question"] for data in splits.values() for row in data.rows}
    assert read == {line[1] for line in table[1:]}
    assert [note for note in splits.notes if "cp1252" in note] == ["train.csv is not UTF-8 and was read as cp1252"] * (
        form == "cp1252"
    )


def test_heads_count_whatever_their_case_and_outer_spaces(folder):
    table = [[" Image", "QUESTION ", "answer", "Organ"], *cells()[1:]]
    (folder / "train.csv").write_bytes(csv_of(table).encode())
    splits = splits_of(data__where={"organ": "liver"}, data__breakdown=["ORGAN"])
    assert {row["Organ"] for data in splits.values() for row in data.rows} == {"liver"}
    assert splits["train"].breakdown == ["Organ"]
    (folder / "train.csv").write_bytes(csv_of([["Img_Name ", "question", "answer", "organ"], *cells()[1:]]).encode())
    assert len(splits_of(data__columns={"img_name": "image"})["train"]) > 6


@pytest.mark.parametrize("form", ["semicolons", "xlsx"])
def test_empty_rows_and_columns_at_the_end_do_not_count_and_lines_are_the_file_s(folder, form):
    ending, make = FORMS[form]
    table = [[*line, "", ""] for line in cells(6)]
    wrong = ["images/none.png", "what?", "it", "liver", "", ""]
    (folder / f"train.{ending}").write_bytes(make([*table, [""] * 6, wrong, *[[""] * 6] * 50]))
    with pytest.raises(SourceError, match=rf"line 8 of train.{ending}: column question: the text is empty"):
        splits_of()  # an empty row with others below it is no end
    (folder / f"train.{ending}").write_bytes(make([*table, wrong, *[[""] * 6] * 50]))
    with pytest.raises(ImageError, match=rf"line 8 of train.{ending}: image 'images/none.png'"):
        splits_of()
    (folder / f"train.{ending}").write_bytes(make([*table, *[[""] * 6] * 50]))
    assert sum(len(data) for data in splits_of().values()) == 6


def test_numbers_and_dates_of_a_sheet_are_what_csv_would_hold(folder):
    book = Workbook()
    book.active.append(HEADS)
    for row in rows(8):
        book.active.append([row["image"], "how many?", 3, 2.0])
    book.save(folder / "train.xlsx")
    assert {(row["answer"], row["organ"]) for row in splits_of()["train"].rows} == {("3", "2")}


BAD_SHEETS = {
    "no zip": (b"PK nonsense", "train.xlsx does not read as xlsx"),
    "a csv file": (csv_of(cells()).encode(), "train.xlsx does not read as xlsx"),
    "no answer": (xlsx_of([["image", "question"], ["images/0.png", "what?"]]), "no column answer"),
    "two heads": (xlsx_of([["image", "question", "answer", "Answer"]]), "are one name"),
}


@pytest.mark.parametrize("name", BAD_SHEETS)
def test_a_bad_sheet_is_refused_by_name(folder, name):
    content, message = BAD_SHEETS[name]
    (folder / "train.xlsx").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        splits_of()


def test_a_comma_in_a_head_of_semicolons_and_the_other_way_round(folder):
    heads = ["image", "question", "answer", "organ (a; b; c; d)"]
    (folder / "train.csv").write_bytes(csv_of([heads, *cells()[1:]]).encode())
    assert splits_of()["train"].columns == [heads[3]]
    heads = ["image", "question", "answer", "organ, a, b, c, d, e"]
    (folder / "train.csv").write_bytes(csv_of([heads, *cells()[1:]], ";").encode())
    assert splits_of()["train"].columns == [heads[3]]


def test_rows_of_an_object_are_numbered_and_said_and_other_objects_are_no_rows(folder):
    lines = rows(6)
    (folder / "train.json").write_text(json.dumps({"data": lines}, indent=1))
    assert "train.json: its rows are those of its key 'data'" in splits_of().notes
    lines[3]["image"] = "images/none.png"
    (folder / "train.json").write_text(json.dumps({"data": lines}))
    with pytest.raises(ImageError, match=r"element 4 of train\.json"):
        splits_of()
    (folder / "train.json").write_text(json.dumps({"id": "set 1", "data": rows(6)}))  # the set's, and no row's
    assert len(splits_of()["train"]) + len(splits_of()["validation"]) == 6
    for whole, problem in (
        ({"train": lines, "test": lines}, "it is no row, 'train', 'test' hold lists or objects: write a list of rows"),
        ({key: [row[key] for row in lines] for key in lines[0]}, "it is no row, 'image', 'question'"),
    ):
        (folder / "train.json").write_text(json.dumps(whole))
        with pytest.raises(SourceError, match=rf"line 1 of train\.json: {problem}"):
            splits_of()
    (folder / "train.json").write_text(json.dumps({"id": 1, "boxes": [{"left": 0.1}]}))  # a row's
    with pytest.raises(SourceError, match="no column image, question, answer; found id, boxes"):
        splits_of()
    (folder / "train.json").write_text(json.dumps({"testing": lines}))
    with pytest.raises(SourceError, match="its rows stand under 'testing', the name of another split"):
        splits_of()
    (folder / "train.json").write_text("\n".join(json.dumps(row, indent=1) for row in lines))
    with pytest.raises(SourceError, match="A row stands on one line"):
        splits_of()
    (folder / "train.json").write_text(json.dumps(rows(1)[0] | {"boxes": [{"left": 0.1}]}) + "\n")
    with pytest.raises(SourceError, match="train has a single image"):  # a row with a list of objects is a row
        splits_of()


@pytest.mark.parametrize("above", [[["Study 5"]], [["Study 5", "", "", "v2"], []], [["Study 5"], ["by me, 2024"]]])
@pytest.mark.parametrize("name", ["train.csv", "train.xlsx"])
def test_a_title_above_the_head_is_told_from_it(folder, name, above):
    """It was "it has 4 cells, the header 1", or a wish to map "Study 5" to image."""
    table = [*above, [head.title() for head in HEADS], *cells()[1:]]
    (folder / name).write_bytes(xlsx_of(table) if name.endswith("xlsx") else csv_of(table).encode())
    said = rf"{name} line {len(above) + 1}: it looks like the head of the table \(Image, Question, Answer, Organ\)"
    with pytest.raises(SourceError, match=rf"{said}, below 'Study 5' in line 1: remove the lines above it"):
        splits_of()
    table = [["Study 5"], ["Bild", "Frage", "Antwort", "Organ"], *cells()[1:]]  # a head that nobody knows
    (folder / name).write_bytes(xlsx_of(table) if name.endswith("xlsx") else csv_of(table).encode())
    with pytest.raises(
        SourceError, match=rf"line 2 of {name}: .* \('Study 5', line 1: remove it where it is a title\)"
    ):
        splits_of()
