"""Statements' numbers by hand: which are about the order, what is counted, and whether a model looks."""

import pytest

from blipvqa.data.labels import truth
from blipvqa.errors import InputError
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.pairs.changes import CHANGES
from blipvqa.pairs.order import about_order, in_other_order
from blipvqa.pairs.scores import score, without_pictures

DRAWS = Bootstrap(resamples=100)


@pytest.mark.parametrize(
    ("sentence", "other"),
    [
        ("only the first picture shows a gland", "only the second picture shows a gland"),
        ("The Left image has two dogs.", "The Right image has two dogs."),
        ("one of the images on the left shows fat", None),
        ("the image on the left shows the right lung", "the image on the right shows the right lung"),
        ("the SECOND scan shows more than the first.", "the FIRST scan shows more than the second."),
        ("the first slice is darker than the second one", "the second slice is darker than the first one"),
        ("the second X-ray shows the first rib", "the first X-ray shows the first rib"),
        ("both pictures show the left lung", None),
        ("the first rib is broken in both pictures", None),
        ("a seconds-long exposure", None),
        ("", None),
    ],
)
def test_a_statement_is_told_in_the_other_order_where_a_picture_is_named_by_its_place(sentence, other):
    if other is None and "on the left" in sentence:
        other = sentence.replace("left", "right")
    assert about_order(sentence) == (other is not None)
    assert in_other_order(sentence) == (other or sentence)
    assert in_other_order(in_other_order(sentence)) == sentence


@pytest.mark.parametrize("value", [True, "true", " TRUE ", "Yes", 1, "1", 1.0])
def test_what_counts_as_true(value):
    assert truth(value) == "true"
    assert truth(0.0) == truth(False) == truth("0.0") == "false"


@pytest.mark.parametrize("value", [None, "", "maybe", 2, 0.5, float("nan"), [], "truee"])
def test_what_is_neither_true_nor_false(value):
    assert truth(value) is None


def row(number: int, label: str, prediction: str, **more) -> dict:
    ids = {"id": f"test/{number}", "image_id": f"{number // 2:016x}", "sentence": "both show fat", "order": "not named"}
    return {
        **ids,
        "label": label,
        "prediction": prediction,
        "probability": 0.9 if prediction == "true" else 0.2,
        **more,
    }


def test_measures_are_counted_as_their_names_say():
    rows = [
        row(0, "true", "true", swapped=0.8),
        row(1, "true", "false", swapped=0.8),
        row(2, "false", "false", swapped=0.1, turned=0.1, label_swapped=True),
        row(3, "false", "true", swapped=0.9, turned=0.7, label_swapped=True),
        row(4, "false", "false", turned=0.7, label_swapped=False),  # it does not turn: nothing to follow
    ]
    overall = {name: (e["value"], e["n"]) for name, e in score(rows, bootstrap=DRAWS)["overall"].items()}
    assert overall["accuracy"] == (pytest.approx(3 / 5), 5)
    assert overall["true_accepted"] == (0.5, 2) and overall["false_rejected"] == (pytest.approx(2 / 3), 3)
    assert overall["accuracy_swapped"] == (0.75, 4) and overall["consistent"] == (0.75, 4)
    assert overall["follows_order"] == (0.5, 2)


def test_what_sees_no_picture_knows_the_statement_s_label_in_train():
    train = [{"sentence": "Both show fat.", "label": "true"}] * 2 + [{"sentence": "other", "label": "false"}] * 3
    rows = [row(0, "true", "false"), {**row(1, "true", "false"), "sentence": "never seen"}]
    (whole, by_words) = without_pictures(rows, train).values()
    assert [one["prediction"] for one in whole] == ["true", "false"]
    scores = score(rows, train=train, bootstrap=DRAWS)
    assert scores["baselines"]["whole_statement"]["accuracy"]["value"] == 0.5
    assert len(by_words) == 2 and scores["baseline"] == scores["baselines"][scores["baseline_name"]]
    assert without_pictures(rows, [])["statement_words"][0]["prediction"] == "false"  # nothing learnt


def test_words_that_give_a_label_away_are_a_baseline_that_warns():
    """No statement comes again, and "only" stands in false ones alone: looked up whole, chance; by its words, all."""

    def statement(i: int) -> dict:
        label = "true" if i % 2 else "false"
        return {"sentence": f"case {i} {'both show' if i % 2 else 'only one shows'} fat", "label": label}

    train = [statement(i) for i in range(100)]
    rows = [row(i, statement(i)["label"], statement(i)["label"]) | statement(i) for i in range(100, 220)]
    rows[0]["prediction"] = "true"  # almost always right, as are the words
    scores = score(rows, train=train, bootstrap=DRAWS)
    assert scores["baseline_name"] == "statement_words" and scores["baseline"]["accuracy"]["value"] == 1.0
    assert scores["baselines"]["whole_statement"]["accuracy"]["value"] == 0.5
    (said,) = [line for line in scores["warnings"] if "sees no picture" in line]
    assert "not surely above the 1.000 of the linear model of the statement's words" in said


def judged(right_share: dict[str, float], pairs: int = 60) -> dict:
    """Scores of a model that is right on the first part of the pairs, with its own pictures and with changed ones."""
    labels = ["true" if i % 2 else "false" for i in range(2 * pairs)]

    def rows(share: float) -> list[dict]:
        wrong = {"true": "false", "false": "true"}
        return [row(i, one, one if i < share * len(labels) else wrong[one]) for i, one in enumerate(labels)]

    changed = {name: rows(right_share.get(name, 0.5)) for name in CHANGES}
    return score(rows(right_share["own"]), changed=changed, bootstrap=DRAWS)


def test_the_verdict_says_whether_it_looks_at_both_at_one_or_at_none():
    both, one, none = judged({"own": 0.95}), judged({"own": 0.9, "second_dropped": 0.88}), judged({"own": 0.5})
    assert both["looks"].startswith("It looks at both pictures") and both["needs_both"]["difference"] > 0.4
    assert "nothing shows that it needs both" in one["looks"] and one["looks"] in one["warnings"]
    assert "nothing shows that it looks" in none["looks"] and none["looks"] in none["warnings"]
    assert both["looks"] not in both["warnings"]


def test_too_few_pairs_to_tell_are_not_called_as_good_without_their_pictures():
    """All right with their own pictures, all wrong with others, on three pairs: it said "about as well as its own"."""
    rows = [row(2 * i, "true", "true") for i in range(3)]
    wrong = [each | {"prediction": "false"} for each in rows]
    scores = score(rows, changed={name: wrong for name in CHANGES}, bootstrap=DRAWS)
    assert scores["needs_pictures"]["difference"] == 1 and not scores["needs_pictures"]["real"]
    assert scores["looks"].startswith("It is not surely better with its own pictures")


def test_wrong_predictions_are_named():
    for broken, said in (
        ({**row(0, "true", "true"), "label": None}, "has no label"),
        ({**row(0, "true", "true"), "prediction": "yes"}, "prediction is 'yes', expected false or true"),
    ):
        with pytest.raises(InputError, match=said):
            score([broken], bootstrap=DRAWS)
    with pytest.raises(InputError, match="1 id is there twice"):
        score([row(0, "true", "true")] * 2, bootstrap=DRAWS)


def test_no_statement_at_all_is_said():
    assert score([], changed={name: [] for name in CHANGES})["warnings"] == [
        "there are no predictions: every number is null"
    ]
