"""Opposite questions: which pairs a data set holds, and what a model that looks, one that does not, and a fickle one get."""

import json

import pytest
from conftest import SHARED, needs_shared, text_of

from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.vqa.consistency import score_consistency
from blipvqa.vqa.opposites import asked_again, contradictions, new_questions, opposite_pairs
from blipvqa.vqa.sections import consistency_section

FEW = Bootstrap(resamples=60)


def row(i, image, question, answer, prediction=None):
    return {"id": f"test/{i}", "image_id": image, "question": question, "answer": answer} | {
        "prediction": answer if prediction is None else prediction
    }


def rows_of(*rows):
    return [row(i, *each) for i, each in enumerate(rows)]


TWO_PICTURES = rows_of(
    ("a", "Is fat present?", "yes"),
    ("a", "Is bone present?", "no"),
    ("b", "Is fat present ?", "no"),
    ("b", "what is present?", "bone"),
    ("b", "is bone present?", "yes"),
    ("c", "does it grow?", "yes"),
)


def test_pairs_of_each_kind_by_hand():
    pairs = opposite_pairs(TWO_PICTURES)
    assert pairs["near_identical"] == pairs["present"] == [(0, 1), (4, 2)]  # the yes first
    assert pairs["two_pictures"] == [(0, 2), (4, 1)]
    assert opposite_pairs([]) == {"near_identical": [], "present": [], "two_pictures": []}
    unlike = rows_of(("a", "is fat present?", "yes"), ("a", "does the left lung show an old infarct?", "no"))
    assert opposite_pairs(unlike)["near_identical"] == []


def test_what_no_model_can_answer_is_no_pair():
    """The same question about the same picture with both answers."""
    both = rows_of(("a", "is it fat?", "yes"), ("a", "is it fat?", "no"), ("b", "is it fat?", "no"))
    assert opposite_pairs(both)["near_identical"] == opposite_pairs(both)["two_pictures"] == []


def test_contradictions_differ_in_one_word_or_a_no():
    sides = rows_of(("a", "is it in the left half?", "yes"), ("a", "is it in the right half?", "no"))
    assert contradictions(sides) == [(0, 1, False)]
    lungs = rows_of(("a", "is the left lung white?", "yes"), ("a", "is the right lung white?", "yes"))
    assert contradictions(lungs) == []
    negated = rows_of(("a", "is there fat?", "yes"), ("a", "is there no fat?", "no"))
    assert contradictions(negated) == [(0, 1, True)]
    assert contradictions(rows_of(("a", "is fat present?", "yes"), ("b", "is fat absent?", "no"))) == []


def test_an_answer_is_asked_for_again():
    assert asked_again(TWO_PICTURES, [r["prediction"] for r in TWO_PICTURES]) == [(3, 4)]
    assert asked_again(TWO_PICTURES, ["", "", "", "kidney", "", ""]) == []
    assert asked_again(TWO_PICTURES, ["", "", "", "fat", "", ""]) == [(3, 2)]


def test_new_questions_are_opposites_and_answers():
    rows = [*TWO_PICTURES, row(6, "a", "is there a gland?", "no"), row(7, "a", "is the scan normal?", "no")]
    asked = new_questions(rows, [r["prediction"] for r in rows])
    assert [(new.row, new.question) for new in asked] == [
        (0, "is fat absent?"),
        (1, "is bone absent?"),
        (2, "is fat absent?"),
        (3, "is bone present?"),
        (4, "is bone absent?"),
        (6, "is there no gland?"),
        (7, "is the scan abnormal?"),
    ]
    assert len(new_questions(rows, [r["prediction"] for r in rows], most=3)) == 3


@pytest.mark.parametrize(
    ("question", "negated"),
    [
        ("is there no fat?", "is there fat?"),  # and not "is there no no fat?"
        ("is no fat present?", "is fat present?"),  # and not "is no fat absent?", which says the same
        ("is normal tissue present?", "is normal tissue absent?"),  # a picture may show abnormal tissue beside it
        ("does it show a normal kidney?", None),
        ("are both lungs normal?", None),  # one may be
        ("is it normal or abnormal?", None),
        ("is the mass there?", None),
    ],
)
def test_what_is_asked_again_as_the_opposite_cannot_be_so_as_well(question, negated):
    rows = rows_of(("a", question, "yes"))
    assert [new.question for new in new_questions(rows, ["yes"])] == ([negated] if negated else [])


def test_two_kinds_of_tissue_in_one_picture_are_no_contradiction():
    rows = rows_of(("a", "is normal tissue present?", "yes"), ("a", "is abnormal tissue present?", "no"))
    assert contradictions(rows) == [(0, 1, False)]
    neither = [each | {"prediction": "no"} for each in rows]
    assert scored(neither, lambda asked: ["yes"] * len(asked))["contradiction"]["rate"]["value"] == 0


def test_an_answer_that_names_nothing_is_not_asked_for_again():
    rows = rows_of(("a", "what is present?", "none"))
    assert new_questions(rows, ["None."]) == []


def test_questions_alone_are_answered_with_their_turns():
    """The answerer without pictures reads the conversation, here as in every other table."""
    turns = {"history": [{"question": "what is it?", "answer": "fat"}]}
    pair = [each | turns for each in rows_of(("a", "is it brown?", "yes"), ("a", "is it brow ?", "no"))]
    train = [*pair, *[row(9, "x", "is it brown?", "no")] * 3]
    scores = score_consistency(pair, lambda asked: [], train, "whole_question", FEW)
    assert scores["pairs"]["near_identical"]["text_only"]["accuracy"]["value"] == 1


def scored(rows, answer_again, train=()):
    return score_consistency(rows, answer_again, list(train), "first_word", FEW)


def looking(rows):
    """Answers to new questions that fit what the model said before."""

    def answer(asked):
        opposite = {"yes": "no", "no": "yes"}
        return [opposite[rows[new.row]["prediction"]] if new.kind == "negated" else "yes" for new in asked]

    return answer


def test_a_model_that_looks_passes_all_and_one_that_does_not_fails():
    rows = [
        row(5 * k + i, f"{k}{r['image_id']}", *list(r.values())[2:])
        for k in range(9)
        for i, r in enumerate(TWO_PICTURES)
    ]
    rows = [each | {"id": f"test/{i}"} for i, each in enumerate(rows)]
    right = scored(rows, looking(rows), rows)
    assert all(kind["accuracy"]["value"] == 1 and kind["confusion"]["value"] == 0 for kind in right["pairs"].values())
    assert right["contradiction"]["rate"]["value"] == 0 and right["self_consistency"]["rate"]["value"] == 1
    assert right["worst"] == []
    # answers by first word alone: every "is" gets the same answer
    blind = right["pairs"]["two_pictures"]["text_only"]
    assert (blind["accuracy"]["value"], blind["confusion"]["value"]) == (0, 1)
    assert right["contradiction"]["text_only"]["value"] == 1
    always_yes = [each | {"prediction": "yes" if each["answer"] in ("yes", "no") else "bone"} for each in rows]
    wrong = scored(always_yes, lambda asked: ["yes"] * len(asked), rows)
    assert all(kind["accuracy"]["value"] == 0 and kind["confusion"]["value"] == 1 for kind in wrong["pairs"].values())
    assert wrong["contradiction"]["rate"]["value"] == 1
    entry = wrong["pairs"]["two_pictures"]["accuracy"]
    assert entry["low"] == 0 < entry["high"] and entry["n"] == 18
    assert {worst["kind"] for worst in wrong["worst"]} == {"near_identical", "present", "two_pictures"}
    assert consistency_section({"consistency": wrong}).title == "Opposite questions"


def test_two_pairs_of_one_picture_are_of_one_image():
    asked = [
        ("is fat present?", "yes"),
        ("is bone present?", "no"),
        ("are nuclei present?", "yes"),
        ("is ink present?", "no"),
    ]
    rows = rows_of(*[(image, *each) for image in ("a", "b", "c") for each in asked])
    entry = scored(rows, lambda asked: ["no"] * len(asked), rows)["pairs"]["present"]["accuracy"]
    assert (entry["n"], entry["groups"]) == (6, 3)


def test_what_was_negated_with_a_word_that_train_never_asked_with_is_said():
    rows = rows_of(("a", "is fat present?", "yes"), ("b", "is bone present?", "no"))
    scores = scored(rows, lambda asked: ["yes"] * len(asked), rows)
    assert scores["unheard"] == {"of": 2, "questions": 2, "words": ["absent"]}
    assert scores["contradiction"]["rate"]["value"] == 0.5  # yes to both; no and yes do not contradict each other
    page = text_of(consistency_section({"consistency": scores}))
    assert "2 say it with a word that stands in no question of train (“absent”)" in page
    heard = scored(rows, lambda asked: ["yes"] * len(asked), rows_of(("c", "is fat absent?", "no")))
    assert heard["unheard"]["questions"] == 0 and "never taught" not in text_of(
        consistency_section({"consistency": heard})
    )


def test_without_opposite_questions_every_number_is_null():
    rows = rows_of(("a", "how many?", "two"), ("b", "how many?", "three"))
    scores = scored(rows, lambda asked: [])
    assert all(kind["accuracy"]["value"] is None for kind in scores["pairs"].values())
    assert scores["contradiction"]["rate"]["value"] is scores["self_consistency"]["rate"]["value"] is None
    json.dumps(scores, allow_nan=False)
    json.dumps(scored([], lambda asked: []), allow_nan=False)
    assert "–" in text_of(consistency_section({"consistency": scores}))


@needs_shared("data/pathvqa-text")
def test_pathvqas_training_questions_hold_the_pairs_that_are_known():
    """Counted by others: 2,446 near-identical pairs, 1,955 of something present, 476 of one question on two pictures."""
    file = SHARED / "data" / "pathvqa-text" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    counts = {kind: len(pairs) for kind, pairs in opposite_pairs(rows).items()}
    expected = {"near_identical": 2446, "present": 1955, "two_pictures": 476}
    assert counts == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("question", "answer", "again"),
    [
        ("what is present?", "fat", "is fat present?"),
        ("which structure is seen in the upper left?", "fat", "is fat present?"),
        ("What does the picture show?", "fat", "is fat present?"),
        ("what are also seen?", "fat", "is fat present?"),
        ("which slice is the first to show the fat?", "the third", None),  # and not "is the third present?"
        ("which side is the present mass on?", "left", None),
        ("what is the size of the mass that is shown?", "large", None),
    ],
)
def test_only_what_is_shown_is_asked_for_again(question, answer, again):
    rows = rows_of(("a", question, answer))
    assert [new.question for new in new_questions(rows, [answer])] == ([again] if again else [])
