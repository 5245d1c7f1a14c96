"""What the model says of its own certainty, and what it gains by staying silent."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blipvqa.numbers.bootstrap import NO_INTERVALS, Bootstrap
from blipvqa.vqa.confidence import (
    abstain,
    confidence,
    fit_temperature,
    risk_coverage,
    score_confidence,
)


def row(i, answer, prediction, **columns):
    return {
        "id": f"test/{i}",
        "image_id": f"image{i // 4}",
        "question": "what is it?",
        "answer": answer,
        "prediction": prediction,
        **columns,
    }


def overconfident(n, seed=0):
    """Yes/no answers and open ones; each says it is surer than it is."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        chance = generator.uniform(0.5, 0.95)
        right, said = generator.random() < chance, 1 / (1 + ((1 - chance) / chance) ** 3)
        if i % 2:
            rows.append(row(i, "yes" if right else "no", "yes", score=-9.0, yes_probability=said))
        else:
            rows.append(row(i, "cyst" if right else "lung", "cyst", score=math.log(said)))
    return rows


def test_confidence_is_the_probability_of_the_own_answer():
    assert confidence(row(0, "yes", "yes", score=-3.0, yes_probability=0.8)) == 0.8
    assert confidence(row(0, "yes", "No.", score=-3.0, yes_probability=0.2)) == 0.8  # of "no"; the answer is unseen
    assert confidence(row(0, "yes", "cyst", score=math.log(0.3), yes_probability=0.8)) == pytest.approx(0.3)
    assert confidence(row(0, "no", "yes", score=math.log(0.3), yes_probability=None)) == pytest.approx(0.3)
    assert confidence(row(0, "cyst", "cyst", score=1e-7)) == 1  # a log-probability above 0 is rounding
    assert confidence(row(0, "cyst", "cyst", score=-math.inf)) == 0


@pytest.mark.parametrize("columns", [{}, {"score": None}, {"score": math.nan}])
def test_without_a_stored_probability_there_is_no_confidence(columns):
    assert confidence(row(0, "cyst", "cyst", **columns)) is None
    assert confidence(row(0, "cyst", "cyst", **columns), fit_temperature([])) is None


def test_risk_and_coverage_by_hand():
    # From certain to uncertain: right, wrong, right, right -> accuracies 1/1, 1/2, 2/3, 3/4
    curve = risk_coverage([0.2, 0.9, 0.8, 0.5], [1, 1, 0, 1])
    assert curve["coverage"] == [0.25, 0.5, 0.75, 1]
    assert curve["accuracy"] == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4])
    assert curve["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert risk_coverage([], []) == {"coverage": [], "accuracy": [], "aurc": None}


def test_equal_confidences_have_no_order():
    assert risk_coverage([0.7] * 4, [1, 1, 0, 0])["accuracy"] == risk_coverage([0.7] * 4, [0, 0, 1, 1])["accuracy"]
    assert risk_coverage([0.7] * 4, [1, 1, 0, 0])["accuracy"] == [0.5] * 4


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_perfect_order_gives_a_curve_that_only_falls(right):
    accuracy = np.array(risk_coverage(np.array(right, float), right)["accuracy"])
    assert (np.diff(accuracy) <= 1e-12).all()
    assert accuracy[-1] == pytest.approx(np.mean(right))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.floats(0.1, 10))
def test_coverage_depends_on_the_order_alone(pairs, power):
    confidences, right = np.array([c for c, _ in pairs]).round(2), [r for _, r in pairs]
    one, other = (
        risk_coverage(confidences, right),
        risk_coverage(np.searchsorted(np.unique(confidences), confidences), right),
    )
    assert one["accuracy"] == pytest.approx(other["accuracy"])


def test_below_the_threshold_the_answer_is_withheld():
    rows = [
        row(0, "yes", "yes", yes_probability=0.9),
        row(1, "no", "yes", yes_probability=0.6),
        row(2, "a", "a"),
    ]
    sure, unsure, unknown = abstain(rows, 0.7)
    assert sure["prediction"] == "yes" and "withheld" not in sure and sure["confidence"] == 0.9
    assert (unsure["prediction"], unsure["withheld"]) == ("uncertain", "yes")
    assert (unknown["prediction"], unknown["confidence"]) == ("uncertain", None)  # unknown is not certain
    assert [p["prediction"] for p in abstain(rows, 0)] == ["yes", "yes", "a"]
    assert rows[1]["prediction"] == "yes"  # the input is left alone
    with pytest.raises(ValueError, match="between 0 and 1, found 70"):
        abstain(rows, 70)


def test_temperature_fitted_on_validation_repairs_test():
    scores = score_confidence(
        overconfident(4000, seed=1),
        calibration=fit_temperature(overconfident(2000, seed=2)),
        bootstrap=Bootstrap(resamples=100),
    )
    assert scores["before"]["ece"]["value"] > 0.1
    assert scores["after"]["ece"]["value"] < 0.05
    assert scores["after"]["brier"]["value"] < scores["before"]["brier"]["value"]
    assert scores["calibration"]["yes_no"]["temperature"] == pytest.approx(3, rel=0.15)  # stated to the third power
    assert scores["calibration"]["yes_no"]["offset"] == 0
    assert scores["calibration"]["sequence"]["n"] == 1000


def test_brier_auroc_and_aurc_by_hand():
    """Right at 0.9 and 0.6, wrong at 0.7 and 0.2."""
    told = [(0.9, "a"), (0.6, "a"), (0.7, "b"), (0.2, "b")]
    rows = [row(i, "a", said, score=math.log(sure)) for i, (sure, said) in enumerate(told)]
    scores = score_confidence(rows, bootstrap=NO_INTERVALS)
    assert scores["before"]["brier"]["value"] == pytest.approx((0.01 + 0.16 + 0.49 + 0.04) / 4)
    assert scores["auroc"]["value"] == pytest.approx(3 / 4)  # of four pairs 0.6 and 0.7 stand the wrong way round
    assert scores["aurc"]["value"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_calibration_never_sees_the_references_of_the_scored_split():
    rows, validation = overconfident(200), overconfident(100, seed=5)
    spoiled = [r | {"answer": "something else"} for r in rows]
    calibration = fit_temperature(validation)
    before = [abstain(r, 0.5, calibration) for r in (rows, spoiled)]
    assert [p["confidence"] for p in before[0]] == [p["confidence"] for p in before[1]]
    assert score_confidence(rows, calibration=calibration, bootstrap=NO_INTERVALS)["calibration"] == calibration


def test_what_a_run_reports_of_confidence():
    scores = score_confidence([*overconfident(400), row(400, "a", "a")], bootstrap=Bootstrap(resamples=50))
    assert (scores["n"], scores["without"], scores["calibration"], scores["after"]) == (400, 1, None, None)
    assert [round(entry["coverage"], 1) for entry in scores["at_coverage"]] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert sum(each["n"] for each in scores["before"]["bins"]) == 400
    assert len(scores["risk_coverage"]["coverage"]) == len(scores["risk_coverage"]["accuracy"]) == 200
    first, *_, last = scores["at_coverage"]
    assert first["value"] > last["value"] and first["threshold"] > last["threshold"]
    for entry in (scores["before"]["ece"], scores["before"]["brier"], scores["aurc"], first):
        assert entry["low"] <= entry["value"] <= entry["high"]
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores
    assert scores == score_confidence([*overconfident(400), row(400, "a", "a")], bootstrap=Bootstrap(resamples=50))


@pytest.mark.parametrize("rows", [[], [row(0, "a", "a")], [row(0, "a", "a", score=-0.1)]])
def test_nothing_to_calibrate_is_null_and_no_crash(rows):
    scores = score_confidence(rows, calibration=fit_temperature([]))
    json.dumps(scores, allow_nan=False)
    assert scores["before"]["ece"]["n"] == scores["n"] == len([r for r in rows if "score" in r])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-20, 0), st.booleans()), max_size=12))
def test_every_number_is_a_share(pairs):
    rows = [row(i, "a", "a" if right else "b", score=score) for i, (score, right) in enumerate(pairs)]
    scores = score_confidence(rows, calibration=fit_temperature(rows), bootstrap=Bootstrap(resamples=20))
    for entry in [scores["aurc"], scores["before"]["ece"], scores["after"]["brier"], *scores["at_coverage"]]:
        assert entry["value"] is None or 0 <= entry["value"] <= 1 + 1e-12


def test_pathvqas_test_size_takes_seconds():
    rows, validation = overconfident(6719), overconfident(1000, seed=1)
    started = time.perf_counter()
    score_confidence(rows, calibration=fit_temperature(validation))
    assert time.perf_counter() - started < 15  # about 1 on an idle core


def test_equally_certain_answers_give_one_interval_in_any_order_of_the_rows():
    generator = np.random.default_rng(0)
    rows = [row(i, "cyst", "cyst" if generator.random() < 0.6 else "lung", score=-float(i % 3)) for i in range(60)]
    mixed = [rows[i] for i in generator.permutation(60)]
    one, other = (score_confidence(each, bootstrap=Bootstrap(resamples=60))["aurc"] for each in (rows, mixed))
    assert one == pytest.approx(other, abs=1e-12)
    # every resample is what it would be by itself
    twice = risk_coverage([0.9, 0.5, 0.9], [1, 1, 0])["aurc"]
    assert twice == pytest.approx(np.mean([1 / 2, 1 / 2, 1 / 3]))
