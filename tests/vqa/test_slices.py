"""Tables of where a model fails, each rate beside the number of questions it stands on."""

import json

import pytest

from blipvqa.vqa.slices import confusion, mistakes, slices


def rows_of(*triples):
    return [
        {"id": f"test/{i}", "image_id": f"image{i}", "question": q, "answer": a, "prediction": p}
        for i, (q, a, p) in enumerate(triples)
    ]


def test_the_worst_question_types_need_enough_questions():
    rows = rows_of(
        *[("what?", "a", "a" if i < 5 else "b") for i in range(10)],
        *[("where?", "a", "a" if i < 3 else "b") for i in range(10)],
        *[("is it?", "yes", "yes")] * 10,
        *[("why?", "a", "b")] * 9,
    )
    worst = slices(rows)["worst"]
    assert [(row["slice"], row["n"], row["exact_match"]) for row in worst] == [
        ("question_type: where", 10, 0.3),
        ("question_type: what", 10, 0.5),
        ("question_type: is", 10, 1.0),
    ]
    assert worst[0]["low"] < 0.3 < worst[0]["high"]
    assert slices(rows, fewest=9)["worst"][0]["slice"] == "question_type: why"
    assert len(slices(rows, top=1)["worst"]) == 1


def test_breakdown_columns_compete_for_the_worst_slice():
    rows = rows_of(*[("what?", "a", "b" if i % 2 else "a") for i in range(40)])
    for i, row in enumerate(rows):
        row["stain"] = "pas" if i % 2 else "h&e"
    assert slices(rows, breakdown=["stain"])["worst"][0]["slice"] == "stain: pas"


def test_long_answers_are_told_from_short_ones():
    rows = rows_of(
        ("what?", "t-cell", "t - cell"),
        ("what?", "a", "b"),
        ("what?", "a b c d e", "a"),
        ("is it?", "yes", "no"),
    )
    rates = {row["slice"]: (row["n"], row["exact_match"]) for row in slices(rows)["answer_length"]}
    assert rates == {
        "1 word": (1, 0.0),  # yes/no questions are left out
        "2 words": (1, 1.0),
        "3 words": (0, None),
        "4-5 words": (1, 0.0),
        "6-10 words": (0, None),
        "over 10 words": (0, None),
    }


def test_rare_answers_are_told_from_common_ones():
    train = [{"question": "?", "answer": a} for a in ["Cyst", "cyst.", "lung", *["cell"] * 21, *["no"] * 500]]
    rows = rows_of(("what?", "cyst", "cyst"), ("what?", "lung", "x"), ("what?", "new", "x"), ("what?", "cell", "cell"))
    rates = {row["slice"]: row["n"] for row in slices(rows, train)["answer_frequency"]}
    assert rates == {
        "never": 1,
        "once": 1,
        "2-5 times": 1,
        "6-20 times": 0,
        "21-100 times": 1,
        "over 100 times": 0,
    }
    assert "answer_frequency" not in slices(rows)


def test_confusion_of_the_commonest_answers():
    rows = rows_of(
        ("?", "yes", "yes"), ("?", "Yes", "no"), ("?", "yes", "cyst"), ("?", "no", "yes"), ("?", "cyst", "no")
    )
    assert confusion(rows, top=2) == {
        "answers": ["yes", "cyst"],  # cyst and no once each: the first in the alphabet
        "predicted": ["yes", "cyst", "(other)"],
        "counts": [[1, 1, 1], [0, 0, 1]],
        "n": [3, 1],
    }


def test_the_commonest_mistakes_with_their_chances():
    rows = rows_of(*[("?", "no", "yes")] * 3, *[("?", "no", "no")] * 4, ("?", "yes", "no"))
    assert mistakes(rows) == [
        {"answer": "no", "prediction": "yes", "n": 3, "of": 7},
        {"answer": "yes", "prediction": "no", "n": 1, "of": 1},
    ]
    assert mistakes(rows, top=1)[0]["n"] == 3


@pytest.mark.parametrize("rows", [[], rows_of(("is it?", "yes", ""))])
def test_small_inputs_give_small_tables(rows):
    tables = slices(rows, train=[])
    json.dumps(tables, allow_nan=False)
    assert tables["worst"] == []
    assert {row["n"] for row in tables["answer_length"]} == {0}
    assert len(tables["confusion"]["answers"]) == len(rows)


def test_an_answer_is_in_train_where_one_of_several_right_ones_is():
    """Before, "never" held what was learnt five times, and was all right."""
    rows = [
        {"id": str(i), "image_id": str(i), "question": "what?", "answer": "heart", "prediction": "cardiac"}
        | {"answers": ["heart", "cardiac"]}
        for i in range(12)
    ]
    train = [{"question": "what?", "answer": "muscle", "answers": ["muscle", "Cardiac"]}] * 5
    table = slices(rows, train=train)["answer_frequency"]
    assert {row["slice"]: row["n"] for row in table if row["n"]} == {"2-5 times": 12}
