"""The pathologist's file opens in a spreadsheet, harms nobody, comes back in any shape, loses no verdict."""

import csv
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from blipvqa import Run, load_splits
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pages.spreadsheets import unguard
from blipvqa.pages.verdicts import VerdictsError, save_pictures
from blipvqa.vqa import tables
from blipvqa.vqa.review import VERDICTS, read_review, write_review


def predictions(*pairs):
    return [
        {"id": f"test/{i}", "image_id": f"image{i}", "question": "What is it?", "answer": a, "prediction": p}
        for i, (a, p) in enumerate(pairs)
    ]


def sheet(path):
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def judge(path, *verdicts, save=None):
    """Fill in verdicts as a reviewer would, and save with the given dialect."""
    rows = sheet(path)
    for row, verdict in zip(rows, verdicts, strict=True):
        row["verdict"] = verdict
    with open(path, "w", newline="", encoding=(save or {}).get("encoding", "utf-8-sig")) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=(save or {}).get("delimiter", ","))
        writer.writeheader()
        writer.writerows(rows)


def test_the_file_that_the_reviewer_opens(tmp_path):
    rows = predictions(("myocardial infarction", "heart attack"), ("naïve, yes", "no"))
    path = write_review(rows, tmp_path / "run", "test", images={"image0": "slide 1.png"})
    assert [path] == list((tmp_path / "run").iterdir()) == [tmp_path / "run" / "review-test.csv"]
    assert path.read_bytes().startswith(b"\xef\xbb\xbfid,image,question,answer,prediction,verdict\r\n")
    first, second = sheet(path)
    assert first == {
        "id": "test/0",
        "image": "slide 1.png",
        "question": "What is it?",
        "answer": "myocardial infarction",
        "prediction": "heart attack",
        "verdict": "",
    }
    assert (second["image"], second["answer"]) == ("image1", "naïve, yes")


@pytest.mark.parametrize(
    "cell", ["=HYPERLINK(1)", "+1", "-5", "@sum", "\t=1", "\r=1", " =1", "＝1", "3-4", "1/2", "SEPT9"]
)
def test_no_cell_is_calculated_or_made_a_date(tmp_path, cell):
    path = write_review(predictions((cell, cell)), tmp_path)
    assert sheet(path)[0]["answer"] == sheet(path)[0]["prediction"]
    assert sheet(path)[0]["answer"].startswith(f"'{cell[0]}")
    assert unguard(sheet(path)[0]["answer"]) == cell
    judge(path, "correct")
    assert read_review(path, predictions((cell, cell)))["expert_accuracy"]["value"] == 1


@pytest.mark.parametrize("cell", ["fat;=1+1", 'fat;"=1+1"', "fat\t@sum", "fat\n-1", "fat;'=1"])
@pytest.mark.parametrize("save", [{}, {"delimiter": ";"}, {"delimiter": "\t", "encoding": "utf-16"}])
def test_a_cell_that_splits_into_a_formula_is_guarded_and_read_back(tmp_path, cell, save):
    rows = predictions((cell, cell), ("a", "b"))
    path = write_review(rows, tmp_path)
    assert unguard(sheet(path)[0]["prediction"]) == cell
    judge(path, "correct", "incorrect", save=save)
    assert read_review(path, rows)["expert_accuracy"]["value"] == 0.5
    assert [row["verdict"] for row in sheet(write_review(rows, tmp_path))] == ["correct", "incorrect"]


@pytest.mark.parametrize("cell", ["yes", "t-cell", "3 cm", "5", "x=1", "'flea bitten kidney '", "marked - yes", ""])
def test_ordinary_cells_are_left_alone(tmp_path, cell):
    assert sheet(write_review(predictions(("a", cell)), tmp_path))[0]["prediction"] == cell


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5))
def test_any_text_comes_back_to_its_row(tmp_path_factory, pairs):
    rows, folder = predictions(*pairs), tmp_path_factory.mktemp("review")
    path = write_review(rows, folder)
    assert path == write_review(rows, folder)
    assert read_review(path, rows)["pending"] == len(rows)


def test_expert_accuracy_and_what_exact_match_missed(tmp_path):
    rows = predictions(("mi", "heart attack"), ("cyst", "cyst"), ("cyst", "lung"), ("a b", "a"), ("x", "x"), ("y", "y"))
    path = write_review(rows, tmp_path)
    judge(path, "correct", " Correct ", "INCORRECT", "partly", "unclear", "")
    review = read_review(path, rows)
    assert review["expert_accuracy"]["value"] == 2 / 4  # of the four that could be judged
    assert review["expert_accuracy_with_partly"]["value"] == 3 / 4
    assert review["exact_match"]["value"] == 1 / 4
    assert review["expert_accuracy"]["low"] < 0.5 < review["expert_accuracy"]["high"]
    assert review["verdicts"] == {"correct": 2, "partly": 1, "incorrect": 1, "unclear": 1}
    assert (review["pending"], review["accepted_not_exact"], review["exact_not_accepted"]) == (1, ["test/0"], [])
    json.dumps(review, allow_nan=False)


def test_an_unreviewed_file_has_no_accuracy(tmp_path):
    rows = predictions(("a", "a"))
    review = read_review(write_review(rows, tmp_path), rows)
    assert review["expert_accuracy"] == {"value": None, "n": 0, "groups": 0, "low": None, "high": None}
    assert review["pending"] == 1


@pytest.mark.parametrize(
    "save",
    [
        {"delimiter": ";"},
        {"delimiter": "\t", "encoding": "utf-16"},
        {"delimiter": ";", "encoding": "cp1252"},
    ],
)
def test_however_the_spreadsheet_saved_it(tmp_path, save):
    rows = predictions(("naïve, or not", "naive; or not"), ("two\nlines", "one"))
    path = write_review(rows, tmp_path)
    judge(path, "correct", "incorrect", save=save)
    assert read_review(path, rows)["expert_accuracy"]["value"] == 0.5


@pytest.mark.parametrize("before", ["sep=;\n", '"sep=;"\r\n', "\n", ";;;;;\n \n", "SEP=;\n\n"])
def test_empty_lines_and_a_told_separator_may_stand_before_the_head(tmp_path, before):
    rows = predictions(("naïve, or not, or", "naive; or not"), ("b", "x"))
    path = write_review(rows, tmp_path)
    judge(path, "correct", "incorrect", save={"delimiter": ";"})
    text = before + path.read_bytes().decode("utf-8-sig")
    path.write_bytes(text.encode("utf-8-sig"))
    assert read_review(path, rows)["expert_accuracy"]["value"] == 0.5
    path.write_bytes(text.replace("incorrect", "wrong").encode("utf-8-sig"))
    row = 3 + len(before.replace("\r", "").lower().replace('"', "").replace("sep=;\n", "").splitlines())
    with pytest.raises(InputError, match=f"row {row}: verdict 'wrong'"):  # as Excel numbers it, which hides `sep=;`
        read_review(path, rows)


def test_rows_may_be_sorted_and_removed(tmp_path):
    rows = predictions(("a", "a"), ("b", "x"), ("c", "c"))
    path = write_review(rows, tmp_path)
    judge(path, "correct", "", "incorrect")
    header, first, _, third = path.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    path.write_text(header.replace("id", " ID ") + third + first + ",,,,,\n", encoding="utf-8")
    review = read_review(path, rows)
    assert (review["expert_accuracy"]["n"], review["pending"]) == (2, 1)
    assert review["exact_not_accepted"] == ["test/2"]


@pytest.mark.parametrize(
    ("text", "changed", "message"),
    [
        ("cyst,cyst,", "cyst,cyst,right", "row 3: verdict 'right' on 'test/1' is none of correct, partly"),
        ("test/1", "", "row 3: no id; copy it back"),
        ("test/1", "test/9", "row 3: no prediction has the id 'test/9'"),
        ("test/1", "test/0", "row 3: the id 'test/0' stands in row 2 already"),
        ("cyst,cyst,", "cyst,lung,correct", "row 3: the verdict on 'test/1' is about 'lung'"),
        ("verdict", "opinion", "no column verdict; the first row has id, image"),
    ],
)
def test_what_is_wrong_is_named_by_its_row(tmp_path, text, changed, message):
    rows = predictions(("a", "a"), ("cyst", "cyst"))
    path = write_review(rows, tmp_path)
    path.write_text(path.read_text(encoding="utf-8-sig").replace(text, changed), encoding="utf-8-sig")
    with pytest.raises(ValueError, match=message):
        read_review(path, rows)


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman", "latin-1"])
def test_letters_of_a_local_encoding_do_not_refuse_a_sheet(tmp_path, encoding):
    """Excel's plain csv: "Ödem" came back as another prediction than "Ödem"."""
    rows = predictions(("Ödem", "Ödem links"), ("yes", "größe ß"))
    path = write_review(rows, tmp_path)
    judge(path, "correct", "incorrect", save={"encoding": encoding, "delimiter": ";"})
    assert read_review(path, rows)["expert_accuracy"]["value"] == 0.5
    write_review(rows, tmp_path)
    assert [row["verdict"] for row in sheet(path)] == ["correct", "incorrect"]
    rows[0]["prediction"] = "Ödem rechts"
    judge(path, "correct", "", save={"encoding": encoding})
    with pytest.raises(InputError, match="row 2: the verdict on 'test/0' is about"):
        read_review(path, rows)


@pytest.mark.parametrize("column", ["question", "answer"])
def test_a_verdict_on_another_question_is_refused_though_the_prediction_is_the_same(tmp_path, column):
    """Sorted without its ids, a sheet gave one row's verdict to another row with the same answer."""
    rows = predictions(("yes", "yes"), ("no", "yes"))
    rows[1]["question"] = "Is it fat?"
    path = write_review(rows, tmp_path)
    judge(path, "correct", "incorrect")
    table = sheet(path)
    table[0]["id"], table[1]["id"] = table[1]["id"], table[0]["id"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "verdict", column, "prediction"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(table)
    with pytest.raises(InputError, match=f"row 2: the verdict on 'test/1' is about .* but the {column} is "):
        read_review(path, rows)


def test_a_verdict_on_another_picture_is_refused_and_not_carried_over(tmp_path):
    """A picture that was replaced under the same question and prediction kept the verdict on the first one."""
    before = [{**row, "image_id": f"{i:016x}"} for i, row in enumerate(predictions(("yes", "yes"), ("no", "yes")))]
    after = [before[0], {**before[1], "image_id": "f" * 16}]
    path = write_review(before, tmp_path, "test", images={f"{0:016x}": f"review-test/00001-{0:016x}.jpg"})
    judge(path, "correct", "incorrect")
    assert read_review(path, before)["verdicts"]["incorrect"] == 1
    with pytest.raises(InputError, match="row 3: the verdict on 'test/1' is about another picture"):
        read_review(path, after)
    with pytest.raises(VerdictsError, match="holds 1 verdict on answers that are no longer the same"):
        write_review(after, tmp_path, "test")
    written = path.read_bytes()
    path.write_bytes(re.sub(rb"\b0{15}1\b", b"00001-000000000000000A.JPG", written))  # as another system calls it
    with pytest.raises(InputError, match="row 3: the verdict on 'test/1' is about another picture"):
        read_review(path, [before[0], {**before[1], "image_id": f"{11:016x}"}])
    read_review(path, [before[0], {**before[1], "image_id": f"{10:016x}"}])
    path.write_bytes(written)
    judge(path, "correct", "")
    write_review(after, tmp_path, "test")
    assert [row["verdict"] for row in sheet(path)] == ["correct", ""]


def test_an_answer_that_is_cut_is_marked_beside_it_for_the_reader(tmp_path):
    """It was judged as if it were all that the model had to say."""
    rows = predictions(("a large gland", "a large"), ("no", "no"))
    path = write_review([{**rows[0], "unfinished": True}, {**rows[1], "unfinished": False}], tmp_path)
    assert [row["unfinished"] for row in sheet(path)] == ["cut off at its limit", ""]
    assert [row["prediction"] for row in sheet(path)] == ["a large", "no"]
    judge(path, "partly", "correct")
    assert read_review(path, rows)["verdicts"]["partly"] == 1
    assert "unfinished" not in sheet(write_review(rows, tmp_path, "validation"))[0]


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "review-test.csv").write_text("")
    with pytest.raises(ValueError, match="no column id and no column verdict; the first row has nothing"):
        read_review(tmp_path / "review-test.csv", [])


def test_verdicts_outlive_a_second_call_and_are_never_overwritten(tmp_path):
    rows = predictions(("a", "-5"), ("b", "x"))
    path = write_review(rows, tmp_path)
    judge(path, "partly", "")
    write_review(rows, tmp_path)
    assert [row["verdict"] for row in sheet(path)] == ["partly", ""]
    write_review([rows[0], rows[1] | {"prediction": "y"}], tmp_path)  # nothing was said about this one
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"holds 1 verdict .* the first is 'test/0': move the file"):
        write_review([rows[0] | {"prediction": "new"}, rows[1]], tmp_path)
    with pytest.raises(FileExistsError):
        write_review(rows[1:], tmp_path)
    assert path.read_bytes() == before


def test_a_sample_is_drawn_by_the_seed(tmp_path):
    rows = predictions(*[("a", "b")] * 50)
    ids = [row["id"] for row in sheet(write_review(rows, tmp_path, sample=5, seed=1))]
    again = [row["id"] for row in sheet(write_review(rows, tmp_path, "again", sample=5, seed=1))]
    assert ids == again and len(set(ids)) == 5
    assert ids == sorted(ids, key=lambda id_: int(id_.split("/")[1]))
    assert len(sheet(write_review(rows, tmp_path, "all", sample=99))) == 50


def test_every_verdict_is_explained():
    assert all(VERDICTS.values()) and set(VERDICTS) == {"correct", "partly", "incorrect", "unclear"}


def test_pictures_lie_beside_the_sheet_and_verdicts_come_back_in_the_table(done, tmp_path):
    data, rows = load_splits(done)["test"], Run(done.folder).predictions("test")
    files = save_pictures(data, tmp_path, "test")
    path = write_review(rows, tmp_path, "test", images=files)
    for row in sheet(path):
        with Image.open(tmp_path / row["image"]) as image:
            assert image.format == "JPEG"
            assert not image.getexif()
    judge(path, *["correct"] * 5, *[""] * (len(rows) - 5))
    review = read_review(path, rows, Bootstrap(resamples=50))
    shown = tables.review_table(review)
    assert ">1.000<" in shown
    assert f">{len(rows) - 5}<" in shown
