"""What is wrong with a row or a file is named by file, line and column; broken rows are left out where a config says so."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import TINY
from small_sources import jsonl, png, rows, splits_of, write

from blipvqa import load_config, load_splits
from blipvqa.data.images import ImageError
from blipvqa.data.split_names import SourceError

BAD_ROWS = {
    "no question": {"question": None},
    "empty question": {"question": "  ?! "},
    "empty answer": {"answer": ""},
    "number as answer": {"answer": 3},
    "very long question": {"question": "x " * 50_000},
    "missing file": {"image": "images/none.png"},
    "no image": {"image": None},
    "parent folder": {"image": "../secret.png"},
    "deeper parent": {"image": "images/../../secret.png"},
    "backslashes": {"image": "..\\secret.png"},
    "absolute path": {"image": "/etc/passwd"},
    "home": {"image": "~/secret.png"},
    "URL": {"image": "http://127.0.0.1:9/x.png"},
    "file URL": {"image": "file:///etc/passwd"},
    "drive": {"image": "C:\\secret.png"},
    "NUL": {"image": "images/0.png\0.txt"},
    "link out": {"image": "images/link.png"},
    "loop": {"image": "images/loop.png"},
    "folder": {"image": "images"},
    "no picture": {"image": "train.jsonl"},
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_refused_by_name_or_skipped_and_counted(folder, name):
    (folder.parent / "secret.png").write_bytes(png(99))
    os.symlink(folder.parent / "secret.png", folder / "images" / "link.png")
    os.symlink("loop.png", folder / "images" / "loop.png")
    lines = rows(12)
    lines[5] |= BAD_ROWS[name]
    jsonl(folder / "train.jsonl", lines)
    with pytest.raises((SourceError, ImageError), match=r"row train/5: line 6 of train\.jsonl: "):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert len(splits["train"]) + len(splits["validation"]) == 11
    assert any("1 of 12 rows left out" in note for note in splits.notes)


@pytest.mark.parametrize("line", ["{", "[1]", "3", '{"image": "a", "image": "b"}', "[" * 100_000, "\x00"])
def test_a_broken_line_is_refused_by_number_or_skipped(folder, line):
    lines = [json.dumps(row) for row in rows(12)]
    (folder / "train.jsonl").write_text("\n\n".join([*lines[:6], line, *lines[6:]]) + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"row train/6: line 13 of train\.jsonl: "):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert len(splits["train"]) + len(splits["validation"]) == 12
    assert any("line 13 of train.jsonl" in note for note in splits.notes)


OTHER_TYPES = [3, 2.5, True, None, [], ["text"], {"a": 1}, 10**30, float("nan")]


@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize("column", ["image", "question", "answer", "organ", "box"])
@pytest.mark.parametrize("value", OTHER_TYPES, ids=str)
def test_a_value_of_another_type_is_named_by_file_line_and_column(folder, kind, column, value):
    """One number among texts refused the whole file before, and named no row."""
    lines = [{**row, "box": [0.5, i]} for i, row in enumerate(rows(12))]
    lines[5][column] = value
    content = "\n".join(map(json.dumps, lines)) if kind == "jsonl" else json.dumps(lines, indent=2)
    (folder / f"train.{kind}").write_text(content, encoding="utf-8")
    nothing = value is None or value != value
    if (column == "box" and isinstance(value, list)) or (column in ("organ", "box") and nothing):
        assert sum(map(len, splits_of().values())) == 12
        return
    place = "line 6 of train.jsonl" if kind == "jsonl" else "element 6 of train.json"
    with pytest.raises((SourceError, ImageError), match=rf"row train/5: {place}: .*{column}|there is no image"):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert sum(map(len, splits.values())) == 11
    assert any("1 of 12 rows left out" in note and f"(first: {place})" in note for note in splits.notes)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_every_line_broken_is_said_with_the_first_one(folder, kind):
    text = "image,question,answer\n" + "a,b\n" * 3 if kind == "csv" else "{\n[1]\n"
    (folder / f"train.{kind}").write_text(text, encoding="utf-8")
    line = 2 if kind == "csv" else 1
    with pytest.raises(SourceError, match=rf"row train/0: line {line} of train\.{kind}: it "):
        splits_of()
    with pytest.raises(SourceError, match=rf"train: every row is broken, e\.g\. line {line} of train\.{kind}: it "):
        splits_of(data__on_error="skip")


def test_a_csv_row_is_named_by_the_line_on_which_it_begins(folder):
    lines = ["image,question,answer", "images/0.png,what?,it", '"images/1.png","what', 'is\nthis?",it', "", "x,y"]
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"row train/2: line 7 of train\.csv: it has 2 cells, the header 3"):
        splits_of()


@pytest.mark.parametrize(
    "broken", ['images/0.png,"what?,it', 'images/0.png,"what?,"it"', '"images/0.png,what?,it', "a,b"]
)
def test_a_broken_csv_row_takes_no_other_with_it(folder, broken):
    """A quote that was never closed made one row of all that followed."""
    lines = ["image,question,answer"] + [f'images/{i}.png,"is it ""{i}""?",it' for i in range(6)]
    (folder / "train.csv").write_text("\n".join([*lines[:3], broken, *lines[3:]]) + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"row train/2: line 4 of train\.csv: "):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert sum(map(len, splits.values())) == 6
    assert {row["question"] for data in splits.values() for row in data.rows} == {f'is it "{i}"?' for i in range(6)}


def test_marks_of_byte_order_are_no_part_of_a_row(folder):
    for kind, text in (("csv", "image,question,answer\nimages/0.png,a,b\nimages/2.png,c,d\n"), ("jsonl", "")):
        text = text or "\n\ufeff".join(json.dumps(row) for row in rows(4, 8))
        (folder / f"train.{kind}").write_text("\ufeff" + text, encoding="utf-8")
        assert sum(map(len, splits_of().values())) == (2 if kind == "csv" else 4)
        (folder / f"train.{kind}").unlink()


def test_an_empty_file_is_named_and_skipped_where_others_have_rows(folder):
    jsonl(folder / "train.jsonl", rows(12))
    (folder / "test.jsonl").write_text("\n", encoding="utf-8")
    for on_error in ("raise", "skip"):
        with pytest.raises(SourceError, match=r"test: test\.jsonl is empty"):
            splits_of(data__on_error=on_error)
    (folder / "test.jsonl").unlink()
    jsonl(folder / "test-00000-of-00002.jsonl", rows(4))
    (folder / "test-00001-of-00002.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(SourceError, match=r"test-00001-of-00002\.jsonl has no row"):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert len(splits["test"]) == 4
    assert "test: test-00001-of-00002.jsonl has no row" in splits.notes


def test_where_that_holds_nowhere_says_what_is_there(folder):
    (folder / "train.csv").write_text("image,question,answer,age\nimages/0.png,what?,it,63\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"column 'age' is none of \[63\]\. It holds text, most often 63"):
        splits_of(data__where={"age": 63})


def test_text_of_all_kinds_passes(folder):
    odd = [
        "\u202eright to left",
        "emoji 🩺?",
        "tab\tand\x07bell",
        "<script>alert(1)</script>",
        "$x^2$",
        "half \ud800 surrogate",
    ]
    lines = rows(12)
    for line, text in zip(lines, odd, strict=False):
        line["question"] = text
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of()
    found = {row["question"] for name in ("train", "validation") for row in splits[name].rows}
    assert set(odd[:5]) <= found
    assert all(question.encode() for question in found)
    notes = [note for note in splits.notes if "lost letters" in note]
    assert notes == ["train: column question: 1 text has lost letters (\ufffd, first: line 6 of train.jsonl)"]


def test_a_mark_of_a_picture_in_a_plain_table_is_told(folder):
    """Of LLaVA's conversations it is taken out; a table of questions with it was learnt with the mark as words."""
    lines = rows(6)
    for line in lines[2:]:
        line["question"] = f"<image>\n{line['question']}"
    lines[1]["answer"] = "see <video>"
    jsonl(folder / "train.jsonl", lines)
    told = [note for note in splits_of().notes if "shows no" in note]
    assert len(told) == 2 and "column question: 4 texts have <image>, which is read as words and shows no" in told[0]
    assert "column answer: 1 text has <video>" in told[1] and "first: line 2 of train.jsonl" in told[1]


BAD_FILES = {
    "latin-1": (
        "train.jsonl",
        '{"image": "images/0.png", "question": "é", "answer": "x"}\n'.encode("latin-1"),
        "UTF-8",
    ),
    "utf-16 without its mark": ("train.csv", "image,question,answer\nx,é,y\n".encode("utf-16-le"), "UTF-8"),
    "half utf-8": ("train.csv", "image,question,answer\nx,é,y\n".encode() + b"x,\xe9,y\n", "not UTF-8 from line 3 on"),
    "no column": ("train.jsonl", b'{"picture": "images/0.png", "question": "x", "answer": "y"}\n', "no column image"),
    "doubled column": ("train.csv", b"image,question,answer,answer\nimages/0.png,a,b,c\n", "stands twice"),
    "empty file": ("train.csv", b"", "no column"),
    "bars": ("train.csv", b"image|question|answer\nimages/0.png|a|b\n", "separated by '|', expected commas"),
    "one name twice": ("train.csv", b"image,question,answer,Answer \nimages/0.png,a,b,c\n", "are one name"),
    "header only": ("train.csv", b"image,question,answer\n", "no"),
    "endless line": ("train.jsonl", b'{"image": "' + b"x" * 2_000_000, "longer than"),
    "no parquet": ("train.parquet", b"PAR1 nonsense", "does not read as parquet"),
    "empty parquet": ("train.parquet", b"", "does not read as parquet"),
    "pickle": ("state.json", b"\x80\x04K\x01.", "save_to_disk"),
    "only test": ("test.jsonl", b'{"image": "images/0.png", "question": "x", "answer": "y"}\n', "no split train"),
    "nothing known": ("notes.txt", b"hello", "holds no"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_by_name(folder, name):
    file, content, message = BAD_FILES[name]
    (folder / file).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        splits_of()


def test_parquet_of_wrong_types_is_refused(folder):
    for column, values in (("image", [1, 2]), ("question", [[1], [2]]), ("answer", [True, False])):
        table = {"image": [png(0), png(1)], "question": ["a", "b"], "answer": ["c", "d"], column: values}
        pq.write_table(pa.table(table), folder / "train.parquet")
        with pytest.raises(SourceError, match=column):
            splits_of()


def test_a_stranger_s_parquet_cannot_name_files_elsewhere(folder):
    lines = [{"image": {"bytes": None, "path": "/etc/passwd"}, "question": "a", "answer": "b"}] * 2
    pq.write_table(pa.Table.from_pylist(lines), folder / "train.parquet")
    with pytest.raises(ImageError, match="leads out"):
        splits_of()


def test_a_source_that_is_not_there_is_said_at_once(root, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match="no such folder"):
        load_splits(load_config(None, TINY | {"data.source": "no/such/folder"}))


def test_nothing_is_written_outside_the_cache_and_no_patient_into_it(folder):
    """Copies of parquet files lay in the cache before, with every column, and locks named by absolute paths."""
    lines = [{**row, "organ": "Jane Roe"} for row in rows(12)]
    write("parquet", folder, {"train": lines, "test": rows(4, 16)})
    before = set(folder.rglob("*"))
    splits_of()
    assert set(folder.rglob("*")) == before
    assert {path.name for path in folder.parent.iterdir()} == {"mine", "outputs"}
    assert {path.name for path in (folder.parent / "outputs").iterdir()} == {"cache"}
    cache = folder.parent / "outputs" / "cache"
    assert {path.name for path in cache.iterdir()} == {"images"}
    for path in cache.rglob("*"):
        assert path.suffix != ".lock" and "mine" not in path.name
        assert path.is_dir() or b"Jane Roe" not in path.read_bytes()
