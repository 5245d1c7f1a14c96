"""Intervals must hold what they promise where questions share images; "real" must mean real."""

import json

import numpy as np
import pytest

from blipvqa.numbers.bootstrap import (
    bootstrap_weights,
    compare_runs,
    estimate,
    estimate_mean,
    group_of,
    interval,
    resample,
    sum_by_group,
)
from blipvqa.vqa.measures import COLUMNS, counts

RIGHT, ALL = COLUMNS.index("right"), COLUMNS.index("all")


def table_of(right):
    table = np.zeros((len(right), len(COLUMNS)))
    table[:, ALL], table[:, RIGHT] = 1, right
    return table


def exact_match(right, groups, **kwargs):
    groups = np.asarray(groups)
    return estimate(table_of(right), groups, [np.arange(len(groups))], ["exact_match"], **kwargs)[0]["exact_match"]


def run_of(right, *, images=None):
    images = images or [f"image{i}" for i in range(len(right))]
    return [
        {
            "id": f"test/{i}",
            "image_id": image,
            "question": "what is it?",
            "answer": "lung",
            "prediction": "lung" if ok else "liver",
        }
        for i, (ok, image) in enumerate(zip(right, images, strict=True))
    ]


def test_weights_draw_every_group_as_often_as_there_are_groups():
    weights = np.concatenate(list(bootstrap_weights(7, 500, seed=0)))
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == pytest.approx(1)
    assert weights.var() == pytest.approx(6 / 7, rel=0.1)  # binomial: 7 draws, each with probability 1/7


def test_chunks_change_memory_and_not_the_result(monkeypatch):
    table, groups, slices = (
        table_of([1, 0, 1, 1, 0, 1]),
        np.array([0, 0, 1, 2, 3, 3]),
        [np.arange(6), np.array([1, 3])],
    )
    whole = list(resample(table, groups, slices, 40, seed=1))
    monkeypatch.setattr("blipvqa.numbers.bootstrap.BATCH", 1)
    assert np.array_equal(whole, list(resample(table, groups, slices, 40, seed=1)))
    monkeypatch.setattr("blipvqa.numbers.bootstrap.CHUNK", 8)  # two resamples at a time
    assert [sums.shape for sums in resample(table, groups, slices, 40, seed=1)] == [(40, len(COLUMNS))] * 2


def test_a_resampled_sum_is_the_weighted_sum_over_groups():
    table, groups = table_of([1, 0, 1]), np.array([0, 0, 1])
    present, sums = sum_by_group(table, groups)
    assert (present.tolist(), sums[:, RIGHT].tolist(), sums[:, ALL].tolist()) == ([0, 1], [1, 1], [2, 1])
    weights = np.concatenate(list(bootstrap_weights(2, 30, seed=3)))
    (resampled,) = resample(table, groups, [np.arange(3)], 30, seed=3)
    assert np.array_equal(resampled[:, ALL], weights @ [2, 1])


def test_the_same_seed_gives_the_same_interval():
    right, groups = [1, 0, 1, 1, 0, 0, 1, 1], [0, 0, 1, 2, 3, 4, 5, 5]
    assert exact_match(right, groups, seed=4) == exact_match(right, groups, seed=4)
    assert exact_match(right, groups, seed=4) != exact_match(right, groups, seed=5)


def test_questions_on_one_image_are_not_independent():
    """Ten questions an image, all right or all wrong, are 40 draws: width 2 * 1.96 * sqrt(0.25/40) = 0.31."""
    right = np.repeat(np.arange(40) % 2, 10)
    by_image = exact_match(right, np.repeat(np.arange(40), 10))
    by_question = exact_match(right, np.arange(400))
    assert by_image["high"] - by_image["low"] == pytest.approx(0.31, abs=0.03)
    assert by_question["high"] - by_question["low"] == pytest.approx(0.098, abs=0.015)  # sqrt(10) narrower, and wrong


def test_intervals_cover_the_truth_as_often_as_they_say():
    """200 test sets of 60 images with 1-8 questions, as hard as their image; the truth is 0.6."""
    generator, covered, naive = np.random.default_rng(0), 0, 0
    for seed in range(200):
        groups = np.repeat(np.arange(60), generator.integers(1, 9, size=60))
        right = generator.random(len(groups)) < generator.beta(1.2, 0.8, size=60)[groups]  # mean 1.2 / 2 = 0.6
        entry = exact_match(right, groups, resamples=200, seed=seed)
        covered += entry["low"] <= 0.6 <= entry["high"]
        naive += abs(right.mean() - 0.6) < 1.96 * np.sqrt(0.24 / len(right))
    assert 0.90 <= covered / 200 <= 0.99
    assert naive / 200 < 0.85  # what intervals over questions would have promised


def test_unanimous_images_are_no_certainty():
    # 9 of 9 right: Clopper-Pearson's lower bound is 0.025^(1/9) = 0.664; a bootstrap alone would say 1 to 1
    entry = exact_match([1] * 9, np.arange(9))
    assert (entry["value"], entry["high"]) == (1, 1)
    assert entry["low"] == pytest.approx(0.025 ** (1 / 9))
    none_right = exact_match([0] * 9, np.arange(9))
    assert (none_right["low"], none_right["high"]) == (0, pytest.approx(1 - 0.025 ** (1 / 9)))


def test_a_mean_over_some_rows_is_resampled_over_all_images():
    """Three rows on two images of ten: many a resample has one of the two alone, some have neither."""
    entry = estimate_mean([0.2, 0.4, *[1.0] * 9], np.array([0, *range(10)]), np.array([0, 1, 2]), seed=1)
    assert (entry["value"], entry["n"]) == (pytest.approx(1.6 / 3), 3)
    assert entry["low"] == pytest.approx(0.3) and entry["high"] == 1  # only the one image, or only the other
    assert estimate_mean([], np.array([], dtype=int)) == {"value": None, "n": 0, "low": None, "high": None}


def test_one_image_or_no_resamples_gives_no_interval():
    assert exact_match([1, 0, 1], [0, 0, 0]) == {
        "value": pytest.approx(2 / 3),
        "n": 3,
        "low": None,
        "high": None,
    }
    assert exact_match([1, 0, 1], [0, 1, 2], resamples=0)["low"] is None
    assert interval(0.5, np.array([np.nan, np.nan]), groups=5) == (None, None)


def test_rows_without_a_patient_stand_for_their_image():
    rows = run_of([1, 1, 1, 1], images=["a", "a", "b", "c"])
    for row, patient in zip(rows, ["p1", None, None, "p1"], strict=True):
        row["patient"] = patient
    assert group_of(rows, "patient").tolist() == [0, 1, 2, 0]
    assert group_of(rows).tolist() == [0, 0, 1, 2]
    with pytest.raises(ValueError, match="no prediction has the group column 'slide'; there are id, image_id"):
        group_of(rows, "slide")


def test_a_consistent_gain_is_real_and_noise_is_not():
    generator = np.random.default_rng(1)
    base = generator.random(300) < 0.5
    better, shuffled = base | (generator.random(300) < 0.2), generator.permutation(base)
    found = compare_runs(run_of(base), run_of(better))["overall"]["exact_match"]
    assert found["real"] and 0 < found["low"] <= found["difference"] <= found["high"]
    assert found["difference"] == pytest.approx(better.mean() - base.mean())
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
    found = compare_runs(a, list(reversed(b)))  # matched by id, not by position
    assert (found["only_a"], found["only_b"]) == (["test/1"], ["test/2"])
    assert (found["both_right"], found["both_wrong"]) == (1, 1)


def test_measures_without_questions_are_null_and_json_stays_valid():
    found = compare_runs(run_of([1, 0]), run_of([0, 1]))
    assert found["overall"]["yes_no_accuracy"] == {
        "a": None,
        "b": None,
        "difference": None,
        "low": None,
        "high": None,
        "n": 0,
        "real": False,
    }
    json.dumps(found, allow_nan=False)
    json.dumps(compare_runs([], []), allow_nan=False)


def test_runs_on_different_questions_are_refused():
    a = run_of([1, 1, 1])
    with pytest.raises(ValueError, match=r"1 ids only in a \['test/2'\], 0 only in b"):
        compare_runs(a, a[:2])
    with pytest.raises(ValueError, match="'test/1' has the answer 'lung' in a and 'bone' in b"):
        compare_runs(a, [a[0], a[1] | {"answer": "bone"}, a[2]])
    with pytest.raises(ValueError, match="stand more than once"):
        compare_runs(a, [*a, a[0]])


def test_slices_are_compared_too():
    a, b = run_of([0] * 8), run_of([1] * 8)
    for i, row in enumerate(a):
        row["stain"] = "h&e" if i < 6 else "pas"
    found = compare_runs(a, b, breakdown=["stain"])["by"]
    assert found["stain"]["h&e"]["exact_match"]["real"]
    assert not found["stain"]["pas"]["exact_match"]["real"]
    assert found["question_type"]["what"]["exact_match"]["n"] == 8
    assert len(counts(a)) == 8
