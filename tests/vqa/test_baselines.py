"""What questions alone give away, and a warning to every model that is not surely above it."""

import pytest

from blipvqa.vqa.baselines import BASELINES, blind_predictions, by_first_word, by_whole_question, by_words
from blipvqa.vqa.scores import score


def rows_of(*pairs):
    return [{"question": question, "answer": answer} for question, answer in pairs]


TRAIN = rows_of(
    ("is it a?", "no"),
    ("is it b?", "No."),
    ("is it c?", "yes"),
    ("what is it?", "T-cell"),
    ("what now?", "cyst"),
    ("why?", "no"),
)


def test_the_commonest_answer_to_questions_of_the_same_first_word():
    # "is": no, 2 of 3. "what": cyst and t - cell once each, cyst is first. "how" is new: no, 3 of 6 overall.
    assert by_first_word(TRAIN, ["is it?", "What?", "how many?"]) == ["no", "cyst", "no"]


def test_the_same_question_is_looked_up_before_its_first_word():
    assert by_whole_question(TRAIN, ["Is it c ?", "what is it", "what else?", "how?"]) == [
        "yes",
        "t - cell",
        "cyst",
        "no",
    ]


def test_a_linear_model_learns_which_words_give_the_answer_away():
    """No question comes again and all begin alike: the other two baselines have nothing to go by."""
    organs = {"thorax": "lung", "skull": "brain", "abdomen": "liver"}
    train = rows_of(
        *[(f"what is in the {place} of case {i}?", organ) for i in range(8) for place, organ in organs.items()]
    )
    asked = [f"what stands out in the {place}, case {90 + i}?" for i, place in enumerate(organs)]
    assert by_words(train, asked) == ["lung", "brain", "liver"]
    assert len(set(by_whole_question(train, asked))) == 1
    assert by_words(train, asked) == by_words(list(reversed(train)), asked)


@pytest.mark.parametrize("answer_all", BASELINES.values(), ids=list(BASELINES))
def test_without_train_rows_or_questions_there_is_nothing_to_say(answer_all):
    assert answer_all([], ["is it?"]) == [""]
    assert answer_all(TRAIN, []) == []
    assert answer_all(rows_of(("?", "yes")), ["!"]) == ["yes"]  # no word at all


def test_answers_are_spelled_as_in_train_and_rows_keep_their_columns():
    rows = [{"id": "test/0", "question": "what is it?", "answer": "x", "prediction": "y", "score": -1.0, "extra": 1}]
    (row,) = blind_predictions(TRAIN, rows)["whole_question"]
    assert (row["prediction"], row["extra"], row["score"]) == ("T-cell", 1, None)
    assert rows[0]["prediction"] == "y"


def predictions_of(right, blind_right=40, total=80):
    """Questions of which the model answers `right`, and the baselines the first `blind_right`."""
    return [
        {
            "id": f"test/{i}",
            "image_id": f"image{i}",
            "question": "what is it?",
            "answer": "cyst" if i < blind_right else "lung",
            "prediction": ("cyst" if i < blind_right else "lung") if i >= total - right else "bone",
        }
        for i in range(total)
    ]


def test_the_strongest_baseline_is_the_baseline_and_warns_where_it_is_not_surely_exceeded():
    train = rows_of(*[("what is it?", "cyst")] * 3, ("what is it?", "lung"))
    scores = score(predictions_of(80), train=train)
    assert set(scores["baselines"]) == set(BASELINES)
    assert scores["baseline"] == scores["baselines"][scores["baseline_name"]]
    assert scores["baseline"]["exact_match"]["value"] == 0.5
    assert (scores["above_baseline"]["difference"], scores["above_baseline"]["real"]) == (0.5, True)
    assert scores["warnings"] == []
    (chance,) = score(predictions_of(44), train=train)["warnings"]
    assert chance.startswith("exact match 55.0% is not surely above the 50.0% of the commonest answer by first word")
    (below,) = score(predictions_of(30), train=train)["warnings"]
    assert "37.5% is not above the 50.0%" in below


def test_a_stronger_baseline_warns_where_the_first_word_alone_would_not():
    """Half of the answers follow from the question's words; "what" alone gives one in six away."""
    answers = ["lung", "brain", "liver", "bone", "skin", "eye"]
    train = rows_of(*[(f"what is in place {i % 6}, view {i}?", answers[i % 6]) for i in range(60)])
    rows = [
        {
            "id": f"test/{i}",
            "image_id": f"image{i}",
            "question": f"what is in place {i % 6}, look {i}?",
            "answer": answers[i % 6] if i % 2 else "heart",
            "prediction": answers[i % 6] if i % 5 < 4 else "heart",
        }
        for i in range(120)
    ]
    scores = score(rows, train=train)
    assert scores["baseline_name"] == "question_words"
    assert scores["overall"]["exact_match"]["value"] > 2 * scores["baselines"]["first_word"]["exact_match"]["value"]
    assert any(
        "of the linear model of the question's words, which sees no image" in text for text in scores["warnings"]
    )
