"""Predictions of other programs get our whole page; what does not fit the split is refused with its count."""

import csv
import json

import pytest

from blipvqa import Run, load_splits
from blipvqa.__main__ import main
from blipvqa.board import read_runs
from blipvqa.errors import InputError, MissingFile
from blipvqa.vqa.others import FORMS, read_others, write_others
from blipvqa.vqa.scoring_others import score_others


@pytest.fixture
def data(tiny):
    return load_splits(tiny())["test"]


def answered(data):
    """Every second question answered rightly."""
    return [{**row, "prediction": row["answer"] if i % 2 else "nonsense"} for i, row in enumerate(data.rows)]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_what_is_written_in_a_form_is_read_back_from_it(data, root, form):
    rows = answered(data)
    path = write_others(rows, root / f"theirs.{FORMS[form]}", form)
    assert [row["prediction"] for row in read_others(path, data)] == [row["prediction"] for row in rows]


def test_the_forms_are_those_of_the_programs(data, root):
    rows = answered(data)
    sample = json.loads(write_others(rows, root / "a.jsonl", "lmms-eval").read_text().splitlines()[1])
    assert (sample["doc_id"], sample["target"], sample["filtered_resps"]) == (1, rows[1]["answer"], [rows[1]["answer"]])
    first = json.loads(write_others(rows, root / "a.json", "medevalkit").read_text())[0]
    assert first == {"question": rows[0]["question"], "answer": rows[0]["answer"], "response": "nonsense"}
    with (write_others(rows, root / "a.csv", "table")).open(encoding="utf-8-sig") as file:
        assert next(csv.DictReader(file)) == {"question_id": rows[0]["id"], "prediction": "nonsense"}
    for form, name in (("lmms-eval", "a.csv"), ("word", "a.doc")):
        with pytest.raises(InputError):
            write_others(rows, root / name, form)


def test_logged_samples_as_lmms_eval_writes_them(data, root):
    """Nested responses, any order, further measures beside."""
    rows = [
        {"doc_id": i, "target": row["answer"], "filtered_resps": [["  Yes "]], "doc_hash": "x", "exact_match": 0.0}
        for i, row in enumerate(data.rows)
    ]
    assert {row["prediction"] for row in read_others(lines(root / "s.jsonl", rows[::-1]), data)} == {"  Yes "}


def test_what_stands_in_answer_tags_or_a_box_is_the_answer(data, root):
    texts = ["<think>no</think><answer>yes</answer>", "so \\boxed{yes}", "<answer> yes", "yes"]
    rows = [
        {"question": row["question"], "answer": row["answer"], "response": texts[i % 4], "correct": True}
        for i, row in enumerate(data.rows)
    ]
    (root / "results.json").write_text(json.dumps(rows))
    assert {row["prediction"] for row in read_others(root / "results.json", data)} == {"yes"}


def refused(data, path, message):
    with pytest.raises(InputError, match=message):
        read_others(path, data)


def test_missing_doubled_and_unknown_ids_are_counted(data, root):
    rows = [{"question_id": row["id"], "prediction": "yes"} for row in data.rows]
    refused(data, lines(root / "a.jsonl", rows[2:]), r"2 questions are missing, the first is 'test/0'")
    refused(data, lines(root / "b.jsonl", [*rows, rows[0], rows[3]]), r"2 ids stand there twice, the first is 'test/0'")
    refused(data, lines(root / "c.jsonl", [*rows, {**rows[0], "question_id": "train/0"}]), "1 id is unknown")
    refused(data, lines(root / "d.jsonl", [*rows[1:], {**rows[0], "prediction": None}]), "1 row has no prediction")
    refused(data, lines(root / "e.jsonl", [{"question_id": 1}]), "have the columns question_id; expected")
    (root / "f.jsonl").write_text('{"question_id": 0, "predic\n')
    refused(data, root / "f.jsonl", "1 row cannot be read, the first is line 1")
    refused(data, lines(root / "g.jsonl", []), "have the columns none")


def test_predictions_about_other_questions_are_refused(data, root):
    rows = [{"doc_id": i, "target": row["answer"], "filtered_resps": ["a"]} for i, row in enumerate(data.rows)]
    rows[3]["target"] = "something else"
    refused(data, lines(root / "a.jsonl", rows), "1 have another reference, the first is test/3: 'something else'")
    rows = [{"question": row["question"], "answer": row["answer"], "response": "a"} for row in data.rows]
    (root / "b.json").write_text(json.dumps(rows[1:] + rows[:1]))
    refused(data, root / "b.json", "element 1: the (question|answer) is")
    (root / "c.json").write_text(json.dumps(rows[1:]))
    refused(data, root / "c.json", "hold 41 answers, test has 42")


@pytest.mark.parametrize("reference", ["heart; cardiac", ["heart", "cardiac"], "cardiac", "Heart."])
def test_a_reference_may_be_any_of_several_right_answers_or_all_of_them(folder, tiny, reference):
    """Other programs keep the source's cell, or the list; both were another reference, and nothing could be scored."""
    table = "image,question,answer\n" + "".join(f"images/{i}.png,what {i}?,heart; cardiac\n" for i in range(8))
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text(table)
    several = load_splits(tiny(data__source="mine", data__answer_separator=";"))["test"]
    rows = [{"doc_id": i, "target": reference, "filtered_resps": ["a"]} for i in range(8)]
    assert len(read_others(lines(folder / "a.jsonl", rows), several)) == 8
    rows = [{"question": row["question"], "answer": reference, "response": "a"} for row in several.rows]
    (folder / "b.json").write_text(json.dumps(rows))
    assert len(read_others(folder / "b.json", several)) == 8
    rows[2]["answer"] = "heart; lung"
    (folder / "c.json").write_text(json.dumps(rows))
    refused(several, folder / "c.json", "element 3: the answer is 'heart; lung'")


@pytest.mark.parametrize("said", [["yes"], {"text": "yes"}, True, float("nan")])
def test_a_prediction_that_is_no_text_is_refused(data, root, said):
    """Before, "['yes']" and "True" were answers, each of them wrong."""
    rows = [{"question_id": row["id"], "prediction": said if i == 2 else "yes"} for i, row in enumerate(data.rows)]
    refused(data, lines(root / "a.jsonl", rows), "1 prediction is no text, the first is .test/2: ")
    rows = [{"question": r["question"], "answer": r["answer"], "response": said} for r in data.rows]
    (root / "b.json").write_text(json.dumps(rows))
    refused(data, root / "b.json", "element 1: the response is no text")


def test_they_get_the_whole_page_and_no_number_that_needs_a_model(tiny, root, data, capsys):
    config = tiny("theirs")
    path = write_others(answered(data), root / "samples.jsonl", "lmms-eval")
    run = score_others(config, path, resamples=50)
    scores = run.metrics("test")
    assert scores["overall"]["exact_match"]["value"] == 0.5
    assert scores["baseline"]["exact_match"]["n"] == 42
    assert not {"confidence", "grounding", "answering", "operating_point", "start"} & scores.keys()
    assert scores["warnings"][0].startswith("These are predictions of 'samples.jsonl', made elsewhere")
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    for heading in ("Numbers on test", "To compare with a published number", "Predicted against actual"):
        assert f">{heading}</h2>" in page
    for heading in ("How sure", "Does it look", "Training", "What moved"):
        assert f">{heading}" not in page
    sheet = (run.folder / "reporting.md").read_text(encoding="utf-8")
    assert (
        "| exact match | 0.500 | " in sheet.replace("`", "") and "made elsewhere" in sheet and "[author: how]" in sheet
    )
    (row,), broken = read_runs(root / "outputs")
    assert (row.status, broken) == ("finished, scored on test", {})
    assert main(["predictions", "--name", "theirs", "--form", "table", "--output", str(root / "out.csv")]) == 0
    assert main(["predictions", "--name", "theirs", "--form", "word", "--output", str(root / "out.csv")]) == 2
    assert "form 'word' is none of lmms-eval, medevalkit, table" in capsys.readouterr().err


def test_columns_of_the_data_compete_for_the_worst_slice(tiny, root):
    config = tiny("theirs", data__synthetic={"images": {"train": 6, "validation": 2, "test": 20}, "size": 48})
    rows = answered(load_splits(config)["test"])
    scores = score_others(config, write_others(rows, root / "theirs.csv", "table"), resamples=20).metrics("test")
    large = [axis for axis, levels in scores["by"].items() for e in levels.values() if e["exact_match"]["n"] >= 10]
    assert scores["slices"]["looked_at"] == len(large) > large.count("question_type") > 0


def test_the_command_scores_a_table_and_leaves_runs_alone(tiny, root, data, capsys):
    (root / "small.yaml").write_text(json.dumps(tiny().as_dict()))
    path = write_others(answered(data), root / "mine.csv", "table")
    command = ["score", "small.yaml", "--predictions", str(path), "--name", "theirs"]
    assert main(command) == 0
    assert "theirs: open outputs/theirs/report.html" in capsys.readouterr().out
    assert main(command) == 0  # again, of the same name
    folder = Run(root / "outputs" / "theirs").folder
    (folder / "config.yaml").write_text(json.dumps(tiny("theirs").as_dict()))
    assert main(command) == 2
    assert "'theirs' is a run with a model" in capsys.readouterr().err
    assert main([*command[:3], str(root / "none.csv"), *command[4:-1], "other"]) == 2
    assert "there is no such file" in capsys.readouterr().err
    with pytest.raises(MissingFile, match="there is no such file"):  # before the data is read, which takes minutes
        score_others(tiny("theirs", data__source="nowhere"), root / "none.csv")


def test_what_a_sheet_guards_comes_back(data, root):
    """The answer -5 was scored as '-5."""
    odd = ["-5", "=1+1", "3-4", "'s", "a; -b", "", "@x"]
    rows = [{**row, "prediction": odd[i % len(odd)]} for i, row in enumerate(data.rows)]
    path = write_others(rows, root / "a.csv", "table")
    assert [row["prediction"] for row in read_others(path, data)] == [row["prediction"] for row in rows]
    with pytest.raises(InputError, match=r"'a\.csv' is there already"):
        write_others(rows, path, "table")


def test_ids_are_those_of_the_data_s_own_column(tiny, folder):
    """With question_ids of the data in another order than its rows, predictions went to other questions."""
    rows = [
        {"image": f"images/{i}.png", "question": f"q {i}?", "answer": f"a {i}", "question_id": (i + 1) % 4}
        for i in range(4)
    ]
    for split in ("train", "test"):
        lines(folder / f"{split}.jsonl", rows)
    data = load_splits(tiny(data__source="mine"))["test"]
    theirs = [{"question_id": row["question_id"], "prediction": row["answer"]} for row in rows]
    assert [row["prediction"] for row in read_others(lines(folder / "p.jsonl", theirs), data)] == [
        row["answer"] for row in data.rows
    ]
