"""A difference between two runs is called real when it is, and only then."""

import json
from functools import partial

import numpy as np
import pytest

from blipvqa.numbers.comparison import NO_DIFFERENCE, adjusted
from blipvqa.training.comparison import compare_predictions
from blipvqa.vqa.comparison import QUESTIONS

compare_runs = partial(compare_predictions, QUESTIONS)


def run_of(right):
    return [
        {
            "id": f"test/{i}",
            "image_id": f"image{i}",
            "question": "what is it?",
            "answer": "lung",
            "prediction": "lung" if ok else "liver",
        }
        for i, ok in enumerate(right)
    ]


def test_a_consistent_gain_is_real_and_noise_is_not():
    generator = np.random.default_rng(1)
    base = generator.random(300) < 0.5
    better, shuffled = base | (generator.random(300) < 0.2), generator.permutation(base)
    compared = compare_runs(run_of(base), run_of(better))["overall"]["exact_match"]
    assert compared["real"] and 0 < compared["low"] <= compared["difference"] <= compared["high"]
    assert compared["difference"] == pytest.approx(better.mean() - base.mean())
    assert not compare_runs(run_of(base), run_of(shuffled))["overall"]["exact_match"]["real"]


def test_pairing_sees_what_two_separate_intervals_hide():
    """8 of 200 answers gained, none lost: each score is +-0.07, yet the difference is surely above 0."""
    base = np.arange(200) % 2 == 0
    gained = base.copy()
    gained[1:17:2] = True
    entry = compare_runs(run_of(base), run_of(gained))["overall"]["exact_match"]
    assert entry["real"] and entry["low"] > 0 and entry["difference"] == pytest.approx(8 / 200)


def test_five_changed_images_are_too_few_to_call_real():
    entry = compare_runs(run_of([0] * 5), run_of([1] * 5))["overall"]["exact_match"]
    assert (entry["difference"], entry["real"]) == (
        1,
        False,
    )  # a coin falls heads five times in 1 of 16 pairs of sides
    assert compare_runs(run_of([0] * 6), run_of([1] * 6))["overall"]["exact_match"]["real"]


def test_which_questions_one_run_answers_and_the_other_does_not():
    a, b = run_of([1, 1, 0, 0]), run_of([1, 0, 1, 0])
    compared = compare_runs(a, list(reversed(b)))  # matched by id, not by position
    assert (compared["better_a"], compared["better_b"]) == (["test/1"], ["test/2"])
    assert (compared["equal"], compared["equal_value"]) == (2, 0.5)


def test_measures_without_questions_are_null_and_json_stays_valid():
    compared = compare_runs(run_of([1, 0]), run_of([0, 1]))
    assert compared["overall"]["yes_no_accuracy"] == {
        "a": None,
        "b": None,
        "difference": None,
        "low": None,
        "high": None,
        "n": 0,
        "groups": 0,
        "p": None,
        "p_holm": None,
        "real": False,
    }
    json.dumps(compared, allow_nan=False)
    json.dumps(compare_runs([], []), allow_nan=False)


def test_runs_on_different_questions_are_refused():
    a = run_of([1, 1, 1])
    with pytest.raises(ValueError, match=r"1 ids only in a \['test/2'\], 0 only in b"):
        compare_runs(a, a[:2])
    with pytest.raises(ValueError, match="'test/1' has the answer 'lung' in a and 'bone' in b"):
        compare_runs(a, [a[0], a[1] | {"answer": "bone"}, a[2]])
    with pytest.raises(ValueError, match="stands more than once"):
        compare_runs(a, [*a, a[0]])


def test_slices_are_compared_too_and_adjusted_for_their_number():
    a, b = run_of([0] * 14), run_of([1] * 14)
    for i, row in enumerate(a):
        row["stain"] = "h&e" if i < 8 else "pas"
    compared = compare_runs(a, b, breakdown=["stain"])["by"]
    large, small = (compared["stain"][level]["exact_match"] for level in ("h&e", "pas"))
    assert large["real"] and large["p"] == pytest.approx(2 / 2**8)
    # six images alone are p = 2 / 2^6 = 0.031; beside two more tests, of which one is larger, that is the largest of three
    assert (small["p"], small["p_holm"], small["real"]) == (pytest.approx(2 / 2**6), pytest.approx(2 / 2**6), True)
    assert large["p_holm"] == pytest.approx(2 * 2 / 2**8)
    assert compared["question_type"]["what"]["exact_match"]["n"] == 14
    assert (large["n"], large["groups"]) == (8, 8)  # an image each


def test_nothing_is_called_real_beside_an_interval_that_holds_zero():
    """BLEU-3 of two seeds of the demo: the exchange test was sure, the interval on few long answers was not."""
    unsure = NO_DIFFERENCE | {"difference": -0.029, "low": -0.058, "high": 0.001, "p": 0.0002}
    sure = unsure | {"high": -0.001}
    assert [each["real"] for each in adjusted([unsure, sure])] == [False, True]
