"""The conversation before a question, as tables hold it."""

import csv
import json

import pytest
from small_sources import jsonl, rows, splits_of

from blipvqa.data.split_names import SourceError

TURNS = [{"question": "is there a gland?", "answer": "yes"}, {"question": "where is it?", "answer": "left"}]
PAIRS = [[turn["question"], turn["answer"]] for turn in TURNS]
FORMS = {
    "objects": (TURNS, TURNS),
    "objects with more in them": ([turn | {"time": 3} for turn in TURNS], TURNS),
    "pairs": (PAIRS, TURNS),
    "text of a list": (json.dumps(PAIRS), TURNS),
    "no turn": ([], None),
    "nothing": (None, None),
}


def lines(history, count=8):
    return [{**row, "history": history} for row in rows(count)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_conversation_is_read(folder, form):
    history, expected = FORMS[form]
    jsonl(folder / "train.jsonl", [*lines(PAIRS), *lines(history)[:1]])
    read = {row["id"]: row for data in splits_of().values() for row in data.rows}
    assert read["train/8"]["history"] == expected and read["train/0"]["history"] == TURNS


def test_a_csv_file_holds_conversations_as_json(folder):
    with open(folder / "train.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "question", "answer", "organ", "history"])
        writer.writeheader()
        writer.writerows({**row, "history": json.dumps(TURNS) if i % 2 else ""} for i, row in enumerate(rows(8)))
    read = {row["id"]: row for data in splits_of().values() for row in data.rows}
    assert read["train/1"]["history"] == TURNS and read["train/2"]["history"] is None


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ([["what?"]], r"turn 1 is \['what\?'\], expected a list of {question, answer}"),
        ([["what?", "x"], ["where?", 3]], "turn 2: found a number"),
        ([{"question": " ", "answer": "x"}], "turn 1: the text is empty"),
        ("[broken", r"'\[broken' is no list in JSON"),
        ("seen before", "found text"),
        ({"question": "what?", "answer": "x"}, "found an object"),
    ],
)
def test_what_is_no_conversation_is_named_by_row_and_turn(folder, history, problem):
    jsonl(folder / "train.jsonl", [*lines(PAIRS), *lines(history)[:1]])
    with pytest.raises(SourceError, match=f"line 9 of train.jsonl: column history: {problem}"):
        splits_of()
    skipped = splits_of(data__on_error="skip")
    assert sum(map(len, skipped.values())) == 8 and any("1 of 9 rows left out" in note for note in skipped.notes)


def test_what_is_known_of_a_patient_stays_a_further_column(folder):
    jsonl(folder / "train.jsonl", [{**row, "history": f"cough since day {i}"} for i, row in enumerate(rows(8))])
    data = splits_of()["train"]
    assert "history" in data.columns and data.rows[0]["history"].startswith("cough")


def test_history_that_is_not_to_be_used_stands_beside_ours(folder):
    jsonl(folder / "train.jsonl", lines(PAIRS))
    data = splits_of(data__history=False)["train"]
    assert "history" not in data.rows[0] and data.rows[0]["history (data)"] == PAIRS


def test_words_of_conversations_are_among_those_of_a_vocabulary(folder):
    jsonl(folder / "train.jsonl", lines([["is it an osteosarcoma?", "perhaps"]]))
    assert any("osteosarcoma" in text for text in splits_of()["train"].texts)
