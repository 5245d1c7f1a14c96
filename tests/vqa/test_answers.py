"""What a question asks for, by its words, and what an answer is."""

import pytest

from blipvqa.vqa.answers import answered_right, asks_yes_no, is_yes_no, question_type


def test_a_prediction_is_right_when_the_tokenizer_cannot_tell_it_from_the_reference():
    assert answered_right({"answer": "T-cell.", "prediction": "t - cell"})
    assert not answered_right({"answer": "t-cell", "prediction": ""})


def test_yes_and_no_are_recognized_however_written():
    assert all(map(is_yes_no, ["yes", "No", " YES. ", "no!"]))
    assert not any(map(is_yes_no, ["yes, left", "none", "not sure", "", "yes no"]))


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What is present?", "what"),
        ("what's shown", "what"),
        ('"Is" it?', "is"),
        ("(Where) is it?", "where"),
        ("?", ""),
        ("", ""),
    ],
)
def test_a_question_type_is_its_first_word(question, kind):
    assert question_type(question) == kind


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Is there necrosis?", True),
        ("does this section show fat", True),
        ("Are the vessels dilated ?", True),
        ("Is the lesion on the left or the right?", False),
        ("what is present?", False),
        ("Islands of cells are seen where?", False),
        ("", False),
    ],
)
def test_whether_a_question_asks_for_yes_or_no(question, wanted):
    assert asks_yes_no(question) is wanted
