"""Several right answers in a table: a list, a list in a csv cell, one cell with a separator."""

import json

import pytest
from small_sources import jsonl, rows, splits_of

from blipvqa import load_splits
from blipvqa.data.fingerprint import fingerprint
from blipvqa.data.split_names import SourceError
from blipvqa.runs.identity import row_changes


def lines(answers, count=8):
    return [{**row, "answers": answers} for row in rows(count)]


FORMS = {
    "list": (["a", "b", "a"], "it is 0", ["a", "b", "a"]),
    "objects of VQA v2": ([{"answer": "a", "answer_id": 1}, {"answer": "b"}], "it is 0", ["a", "b"]),
    "list in a cell": (json.dumps(["a", "b"]), "it is 0", ["a", "b"]),
    "one text": ("a", "it is 0", ["a"]),
    "nothing": (None, "it is 0", None),
    "no answer in it": (["", " "], "it is 0", None),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_list_is_read(folder, form):
    answers, answer, expected = FORMS[form]
    jsonl(folder / "train.jsonl", [*lines(["x", "y"]), *lines(answers)[:1]])
    read = [row for data in splits_of().values() for row in data.rows]
    row = next(row for row in read if row["id"] == "train/8")
    assert (row["answer"], row["answers"]) == (answer, expected)


def test_without_a_column_answer_the_commonest_stands_for_all(folder):
    without = [{key: value for key, value in line.items() if key != "answer"} for line in lines(["a", "B", "b"])]
    jsonl(folder / "train.jsonl", without)
    row = splits_of()["train"].rows[0]
    assert (row["answer"], row["answers"]) == ("B", ["a", "B", "b"])


def test_a_separator_splits_cells_and_only_where_it_is_set(folder):
    table = "image,question,answer\n" + "".join(f"images/{i}.png,what {i}?,heart; the heart ;\n" for i in range(8))
    (folder / "train.csv").write_text(table)
    row = splits_of(data__answer_separator=";")["train"].rows[0]
    assert (row["answer"], row["answers"]) == ("heart", ["heart", "the heart"])
    row = splits_of()["train"].rows[0]
    assert row["answer"] == "heart; the heart ;" and "answers" not in row


@pytest.mark.parametrize("cell", ["heart |", "| heart", " heart||", "heart"])
def test_a_separator_around_one_answer_is_none_of_it(folder, cell):
    """Before, "heart |" was the answer, which no "heart" is equal to."""
    table = "image,question,answer\n" + "".join(f"images/{i}.png,what {i}?,{cell}\n" for i in range(8))
    (folder / "train.csv").write_text(table)
    row = splits_of(data__answer_separator="|")["train"].rows[0]
    assert (row["answer"], row["answers"]) == ("heart", None)


def test_separators_alone_are_no_answer(folder):
    table = "image,question,answer\n" + "".join(f"images/{i}.png,what {i}?,{'| |' if i else 'a'}\n" for i in range(8))
    (folder / "train.csv").write_text(table)
    with pytest.raises(SourceError, match=r"line 3 of train\.csv: column answer: the text is empty"):
        splits_of(data__answer_separator="|")


@pytest.mark.parametrize("answers", [3, [3], {"a": 1}, [["a"]], "[broken", '[{"answer": "a", "answer": "b"}]'])
def test_what_is_no_list_of_texts_is_named_by_row(folder, answers):
    jsonl(folder / "train.jsonl", [*lines(["x"]), *lines(answers)[:1]])
    with pytest.raises(SourceError, match=r"line 9 of train.jsonl: column answers: "):
        splits_of()


def test_other_answers_are_other_data(folder):
    jsonl(folder / "train.jsonl", lines(["a", "b"]))
    before = fingerprint(splits_of())
    jsonl(folder / "train.jsonl", lines(["a", "c"]))
    assert row_changes(before, fingerprint(splits_of()))


def test_an_epoch_draws_one_answer_of_each_and_every_start_the_same(folder):
    jsonl(folder / "train.jsonl", lines(["a", "b", "c"]))
    data = splits_of()["train"]
    epochs = [[row["answer"] for row in data.with_drawn_answers(0, epoch).rows] for epoch in range(20)]
    assert epochs[3] == [row["answer"] for row in data.with_drawn_answers(0, 3).rows]
    assert {answer for epoch in epochs for answer in epoch} == {"a", "b", "c"}
    assert len({tuple(epoch) for epoch in epochs}) > 10
    assert set("abc") <= set(data.texts)


def test_rows_of_one_answer_are_left_as_they_are(tiny):
    data = load_splits(tiny())["train"]
    assert data.with_drawn_answers(0, 1) is data


def test_each_of_several_answers_is_checked_as_a_single_one_is(folder):
    """Before, only column `answer` was: a text of 30,000 characters passed among the others."""
    jsonl(folder / "train.jsonl", [*lines(["x"]), *lines(["x", "p" * 30_000])[:1]])
    with pytest.raises(SourceError, match=r"line 9 of train.jsonl: column answer: the text has 30,000 characters"):
        splits_of()
    jsonl(folder / "train.jsonl", lines(["x", "half \ud800"]))
    assert any("column answer: 8 texts have lost letters" in note for note in splits_of().notes)
