"""A table or a folder of one's own to a sheet of answers: the answers of `predict`, and the same after a kill."""

import csv
import json
import os
import subprocess
import sys

import openpyxl
import pytest
from PIL import Image

from blipvqa import answer_all, load_splits
from blipvqa.__main__ import main
from blipvqa.config.reading import with_overrides
from blipvqa.data.formats import SourceError
from blipvqa.errors import InputError, MissingFile
from blipvqa.runs.files import read_lines


@pytest.fixture
def table(done, tmp_path):
    """The test split as a person has it: pictures in a folder, and a table without answers, of scattered pictures."""
    data = load_splits(done)["test"]
    (tmp_path / "pictures").mkdir()
    files = {}
    for i, row in enumerate(data.rows):
        if row["image_id"] not in files:
            files[row["image_id"]] = f"pictures/{len(files)}.png"
            data.image(i).save(tmp_path / files[row["image_id"]])
    rows = [
        {"image": files[row["image_id"]], "question": row["question"], "case": f"=c{i}"}
        for i, row in enumerate(data.rows)
    ]
    rows = rows[::2] + rows[1::2]
    path = tmp_path / "own.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def small_batches(config):
    return with_overrides(config.as_dict(), {"generate.batch_size": 8})


def test_the_answers_are_those_of_predict_with_calibrated_confidence(done, table, tmp_path):
    rows = read_lines(answer_all(done, table, tmp_path / "out.jsonl", progress=False))
    expected = {row["question"] + row["image_id"]: row for row in read_lines(done.folder / "predictions-test.jsonl")}
    data = load_splits(done)["test"].rows
    order = [*data[::2], *data[1::2]]
    for row, asked in zip(rows, order, strict=True):
        prediction = expected[asked["question"] + asked["image_id"]]
        assert (row["question"], row["answer"]) == (prediction["question"], prediction["prediction"])
        assert row["confidence"] == pytest.approx(prediction["confidence"], abs=1e-4)
        assert row["image"].startswith("pictures/") and row["withheld"] is False and row["case"].startswith("=c")
    assert not list(tmp_path.glob("*.partial"))


KILLED = """
import os, sys
from blipvqa import answer_all, run_config
from blipvqa.config.reading import with_overrides
from blipvqa.runs import files

left = 3

def dies(operation, path):
    global left
    left -= operation == "append"
    if operation == "append" and not left:
        with open(path, "a") as file:
            file.write('{"rows": [0, 1')  # a line that is torn
            file.flush()
        os._exit(9)

files.before_operation = dies
config = with_overrides(run_config("tiny").as_dict(), {"generate.batch_size": 8})
answer_all(config, sys.argv[1], sys.argv[2], progress=False)
"""


def test_a_killed_one_goes_on_to_the_same_sheet(done, table, tmp_path, capsys):
    config = small_batches(done)
    whole = answer_all(config, table, tmp_path / "whole.csv", progress=False)
    torn = tmp_path / "torn.csv"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(table), str(torn)], env=dict(os.environ), check=False)
    assert killed.returncode == 9 and not torn.exists() and (tmp_path / "torn.csv.partial").exists()
    with pytest.raises(InputError, match="begun with another generate settings"):
        answer_all(done, table, torn, progress=False)
    capsys.readouterr()
    answer_all(config, table, torn, progress=False)
    assert "answered before, going on" in capsys.readouterr().out
    assert torn.read_bytes() == whole.read_bytes()


def test_each_question_about_each_picture_of_a_folder(done, table, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("is there a gland?\n\nwhat is this?\n", encoding="utf-8")
    folder, output = table.parent / "pictures", tmp_path / "all.csv"
    arguments = ["predict", "--name", "tiny", "--input", str(folder), "--output", str(output)]
    assert main([*arguments, "--questions", str(tmp_path / "list.txt"), "--set", "generate.uncertain_below=1.0"]) == 0
    with open(output, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["question"] for row in rows] == ["is there a gland?", "what is this?"] * (len(rows) // 2)
    assert len(rows) == 2 * len(list(folder.iterdir())) and rows[0]["image"] == "0.png"
    assert {row["answer"] for row in rows} == {"uncertain"} and {row["withheld"] for row in rows} == {"true"}
    capsys.readouterr()
    assert main(arguments) == 2 and "needs questions" in capsys.readouterr().err


def test_wrong_rows_are_named_by_line_or_left_out(done, table, tmp_path, capsys):
    (table.parent / "pictures" / "broken.png").write_bytes(b"no picture")
    lines = table.read_text(encoding="utf-8").splitlines()[:6]
    lines[2:2] = [
        "pictures/none.png,what is it?,a",
        "pictures/broken.png,what is it?,b",
        "pictures/0.png,?,c",
        "../x.png,what?,d",
    ]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(SourceError) as error:
        answer_all(done, table, tmp_path / "out.csv", progress=False)
    for line, reason in ((3, "none.png"), (4, "none of PNG"), (5, "the text is empty"), (6, "leads out")):
        assert any(f"line {line} of own.csv" in part and reason in part for part in str(error.value).splitlines())
    output = answer_all(done, table, tmp_path / "out.csv", skip=True, progress=False)
    assert "line 4 of own.csv" in capsys.readouterr().out
    assert len(output.read_text(encoding="utf-8-sig").splitlines()) == len(lines) - 4


def test_nothing_of_ones_own_is_overwritten(done, table, tmp_path):
    for output in (table, tmp_path / "notes.jsonl"):
        output.exists() or output.write_text(json.dumps({"image": "a"}) + "\n", encoding="utf-8")
        with pytest.raises(InputError, match="no answers of ours"):
            answer_all(done, table, output, progress=False)
    with pytest.raises(InputError, match=r"\.csv, \.xlsx, \.jsonl"):
        answer_all(done, table, tmp_path / "out.ods", progress=False)
    with pytest.raises(MissingFile, match="nowhere"):
        answer_all(done, "nowhere.csv", tmp_path / "out.csv", progress=False)
    again = answer_all(done, table, tmp_path / "again.csv", progress=False).read_bytes()
    assert answer_all(done, table, tmp_path / "again.csv", progress=False).read_bytes() == again


def test_ranked_answers_come_from_the_training_answers(done, table, tmp_path):
    config = with_overrides(done.as_dict(), {"generate.method": "rank"})
    answers = {row["answer"] for row in read_lines(answer_all(config, table, tmp_path / "out.jsonl", progress=False))}
    assert answers <= {row["answer"] for row in load_splits(done)["train"].rows}


def test_an_excel_file_holds_the_same_cells_and_no_formula(done, table, tmp_path):
    plain = answer_all(done, table, tmp_path / "out.jsonl", progress=False)
    sheet = answer_all(done, table, tmp_path / "out.xlsx", progress=False)
    (head, *rows) = openpyxl.load_workbook(sheet).active.iter_rows()
    columns = [cell.value for cell in head]
    assert columns[:5] == ["image", "question", "answer", "confidence", "withheld"]
    for row, expected in zip(rows, read_lines(plain), strict=True):
        values = {name: "" if cell.value is None else cell.value for name, cell in zip(columns, row, strict=True)}
        texts = {name: value for name, value in expected.items() if not isinstance(value, float)}
        assert texts == {name: values[name] for name in texts} and len(values) == len(expected)
        assert values["confidence"] == pytest.approx(expected["confidence"])
        assert not any(cell.data_type == "f" for cell in row) and values["case"].startswith("=c")
    assert answer_all(done, table, sheet, progress=False) == sheet  # it is ours, and may be written again
    own = openpyxl.Workbook()
    own.active.append(["patient", "finding"])
    own.save(tmp_path / "mine.xlsx")
    with pytest.raises(InputError, match="no answers of ours"):
        answer_all(done, table, tmp_path / "mine.xlsx", progress=False)


def test_what_was_noted_of_ones_own_pictures_is_said(done, table, tmp_path, capsys):
    """Before, files of other endings were passed over, and notes on the pictures thrown away."""
    folder = table.parent / "pictures"
    for name in ("0.jpx", "README", "below.png.bak"):
        (folder / name).write_bytes(b"x")
    Image.new("RGB", (9, 9), "grey").save(folder / "grey.png")
    answer_all(done, folder, tmp_path / "out.csv", questions=["what is this?", "腺体?"], progress=False)
    said = capsys.readouterr().out
    assert "not read, since their names are no picture's: 0.jpx, README, below.png.bak" in said
    assert "own: 1 picture is (almost) one colour after decoding" in said
    count = len(list(folder.glob("*.png")))
    assert f"own: {count} of {2 * count} in column question hold what the model's vocabulary has no word for" in said
