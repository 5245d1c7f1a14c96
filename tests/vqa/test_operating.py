"""Yes/no questions as a diagnostic test, by hand, and where a class is missing."""

import json

import numpy as np
import pytest
from conftest import text_of

from blipvqa.numbers.bootstrap import NO_INTERVALS, Bootstrap
from blipvqa.vqa.operating import score_operating_point
from blipvqa.vqa.sections import operating_section


def row(i, answer, probability, split="test"):
    said = "yes" if probability >= 0.5 else "no"
    return {"id": f"{split}/{i}", "image_id": f"image{i // 2}", "question": "is it?", "answer": answer} | {
        "prediction": said,
        "yes_probability": probability,
    }


def rows_of(pairs, split="test"):
    return [row(i, answer, probability, split) for i, (answer, probability) in enumerate(pairs)]


VALIDATION = rows_of([("yes", 0.9), ("yes", 0.7), ("yes", 0.4), ("yes", 0.2), ("no", 0.3), ("no", 0.1)], "validation")
TEST = rows_of([("yes", 0.8), ("yes", 0.5), ("yes", 0.3), ("no", 0.6), ("no", 0.2), ("no", 0.1), ("no", 0.35)])


def test_an_operating_point_by_hand():
    scores = score_operating_point(TEST, VALIDATION, 0.75, NO_INTERVALS)
    chosen, as_answered = scores["rows"]
    assert chosen["threshold"] == 0.4  # three of validation's four yes
    assert chosen["validation"]["sensitivity"]["value"] == 0.75
    values = {name: entry["value"] for name, entry in chosen["scored"].items()}
    # from 0.4 on: yes 0.8, 0.5 and no 0.6
    assert values == pytest.approx({"sensitivity": 2 / 3, "specificity": 3 / 4, "ppv": 2 / 3, "npv": 3 / 4})
    assert (as_answered["threshold"], as_answered["scored"]["ppv"]["n"]) == (0.5, 3)
    assert scores["prevalence"]["value"] == pytest.approx(3 / 7)
    assert scores["auroc"]["value"] == pytest.approx((4 + 3 + 2) / 12)


def test_what_is_likelier_than_no_is_not_called_the_answer():
    """A generated answer to a yes/no question may be neither; its two probabilities are compared all the same."""
    rows = [each | {"prediction": "liver"} for each in TEST]
    page = text_of(operating_section({"operating_point": score_operating_point(rows, VALIDATION, 0.75, NO_INTERVALS)}))
    assert "likelier than no" in page and "as the model answers" not in page


@pytest.mark.parametrize(
    ("test", "validation", "undefined"),
    [
        (TEST, None, "there is no validation split"),
        (TEST, [], "no question with the answer yes or no"),
        (TEST, VALIDATION[:4], "no question with the answer no"),
        (TEST, VALIDATION[4:], "no question with the answer yes"),
    ],
)
def test_without_both_classes_on_validation_no_threshold_is_chosen(test, validation, undefined):
    scores = score_operating_point(test, validation, 0.9, NO_INTERVALS)
    assert undefined in scores["undefined"]
    assert all(entry["value"] is None for entry in scores["rows"][0]["scored"].values())
    assert scores["rows"][1]["scored"]["sensitivity"]["value"] is not None
    assert undefined in text_of(operating_section({"operating_point": scores}))


def test_without_both_classes_on_the_scored_split_what_is_missing_is_null():
    scores = score_operating_point(TEST[:3], VALIDATION, 0.9, NO_INTERVALS)
    assert scores["auroc"]["value"] is None and scores["prevalence"]["value"] == 1
    assert scores["rows"][0]["scored"]["specificity"]["value"] is None
    nothing = score_operating_point([], VALIDATION, 0.9)
    assert nothing["prevalence"]["value"] is None
    assert "no question whose reference is yes or no" in text_of(operating_section({"operating_point": nothing}))
    json.dumps([scores, nothing], allow_nan=False)


def test_every_number_has_its_interval():
    generator = np.random.default_rng(0)
    pairs = [("yes" if generator.random() < p else "no", float(p)) for p in generator.random(300)]
    scores = score_operating_point(rows_of(pairs), rows_of(pairs[:150], "validation"), 0.9, Bootstrap(resamples=60))
    entries = [scores["auroc"], scores["prevalence"], *scores["rows"][0]["scored"].values()]
    assert all(entry["low"] < entry["value"] < entry["high"] for entry in entries)
    assert scores["auroc"]["value"] > 0.7
