"""Measures of a matrix of scores, by hand; what is not defined says why."""

import json

import numpy as np
import pytest

from blipvqa.continual.measures import (
    MEASURES,
    backward_transfer,
    final_average,
    forgetting,
    forward_transfer,
    learnt,
    measure,
)
from blipvqa.numbers.bootstrap import Bootstrap

# after stage k (rows) on set j (columns); the first row is the model before any stage
MATRIX = np.array([[0.1, 0.2, 0.0], [0.9, 0.3, 0.1], [0.7, 0.8, 0.2], [0.4, 0.9, 1.0]])
BY_HAND = {
    final_average: (0.4 + 0.9 + 1.0) / 3,
    learnt: (0.9 + 0.8 + 1.0) / 3,
    forgetting: ((0.9 - 0.4) + (0.8 - 0.9)) / 2,  # best of stages 1 and 2
    backward_transfer: ((0.4 - 0.9) + (0.9 - 0.8)) / 2,
    forward_transfer: ((0.3 - 0.2) + (0.2 - 0.0)) / 2,
}


@pytest.mark.parametrize("function", BY_HAND)
def test_each_measure_is_what_its_paper_says(function):
    assert function(MATRIX) == pytest.approx(BY_HAND[function])
    assert function(np.stack([MATRIX, MATRIX])) == pytest.approx([BY_HAND[function]] * 2)  # of every resample


def answers(rows=200, seed=0):
    """Right or wrong of every model on three sets, drawn by MATRIX, two rows a picture."""
    draw = np.random.default_rng(seed)
    right = [(draw.random((4, rows)) < MATRIX[:, [j]]).astype(float) for j in range(3)]
    return right, [np.arange(rows) // 2] * 3


@pytest.mark.parametrize("rows", [16, 60, 200, 1200])
def test_intervals_hold_the_truth_about_as_often_as_they_say(rows):
    """Of 8, 30, 100 and 600 pictures a set; percentiles held it 87 to 90 times in a hundred of eight."""
    held = {name: 0 for name in MEASURES}
    for seed in range(200):
        right, groups = answers(rows, seed)
        for name, entry in measure("plain", right, groups, Bootstrap(resamples=200, seed=seed)).items():
            truth = float(MEASURES[name].value(MATRIX))
            held[name] += entry["low"] <= truth <= entry["high"]
            assert entry["n"] == 3 * rows and entry["groups"] == 3 * rows // 2
    assert all(count >= 184 for count in held.values()), held  # of 200, 95 % told


def test_what_is_not_defined_is_none_with_a_reason():
    right, groups = answers()
    one = measure("plain", [right[0][:2]], groups[:1], Bootstrap(resamples=10))
    assert one["final_average"]["value"] is not None and one["learnt"]["value"] is not None
    for name in ("forgetting", "backward_transfer", "forward_transfer"):
        assert one[name]["value"] is None and one[name]["reason"] == "the sequence has one stage"
    joint = measure("joint", [of[:2] for of in right], groups, Bootstrap(resamples=10))
    assert joint["final_average"]["value"] is not None
    assert "no order" in joint["forgetting"]["reason"] and joint["forgetting"]["value"] is None
    none = measure("plain", [right[0][:, :0], *right[1:]], [groups[0][:0], *groups[1:]], Bootstrap(resamples=10))
    assert all(entry["value"] is None and "no such question" in entry["reason"] for entry in none.values())


def test_a_model_that_was_not_asked_leaves_undefined_what_takes_its_answers_and_no_more():
    right, groups = answers()
    right[0][2] = np.nan  # the second model, of the first set
    found = measure("plain", right, groups, Bootstrap(resamples=20))
    json.dumps(found, allow_nan=False)
    assert {name for name, entry in found.items() if entry["value"] is None} == {"forgetting"}
    assert "was not asked" in found["forgetting"]["reason"] and found["forgetting"]["n"] == 0


def test_each_alone_is_scored_on_its_own_set_only():
    right, groups = answers()
    for j, of_set in enumerate(right):
        of_set[[k for k in range(1, 4) if k != j + 1]] = np.nan
    found = measure("alone", right, groups, Bootstrap(resamples=50))["final_average"]
    assert found["value"] == pytest.approx(np.mean([right[j][j + 1].mean() for j in range(3)]))
    assert found["low"] < found["value"] < found["high"]
