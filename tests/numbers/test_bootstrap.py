"""Intervals must hold what they promise where rows share a group."""

import numpy as np
import pytest

from blipvqa.numbers.bootstrap import (
    BY_IMAGE,
    NO_INTERVALS,
    Bootstrap,
    bootstrap_weights,
    estimate,
    estimate_mean,
    estimate_statistic,
    interval,
    nothing_counted,
    resample,
    sum_by_group,
)
from blipvqa.numbers.calibration import calibration_error, count_bins
from blipvqa.numbers.few_groups import FEW, quantile_of, student, student_tail
from blipvqa.numbers.measures import Measures, divide, ratio

MEASURES = Measures({"share": ratio("right", "all", "share of rows that are right")})
RIGHT, ALL = MEASURES.position("right"), MEASURES.position("all")


def counts_of(right):
    return MEASURES.matrix({"all": 1, "right": each} for each in right)


def share(right, groups, bootstrap=BY_IMAGE):
    groups = np.asarray(groups)
    (entry,) = estimate(counts_of(right), groups, [np.arange(len(groups))], MEASURES, ["share"], bootstrap)
    return entry["share"]


def test_weights_draw_every_group_as_often_as_there_are_groups():
    weights = np.concatenate(list(bootstrap_weights(7, Bootstrap(resamples=500))))
    assert weights.shape == (500, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == pytest.approx(1)
    assert weights.var() == pytest.approx(6 / 7, rel=0.1)  # binomial: 7 draws, each with probability 1/7


def test_chunks_change_memory_and_not_the_result(monkeypatch):
    counts, groups, slices = (
        counts_of([1, 0, 1, 1, 0, 1]),
        np.array([0, 0, 1, 2, 3, 3]),
        [np.arange(6), np.array([1, 3])],
    )
    whole = list(resample(counts, groups, slices, Bootstrap(resamples=40, seed=1)))
    monkeypatch.setattr("blipvqa.numbers.bootstrap.BATCH", 1)
    assert np.array_equal(whole, list(resample(counts, groups, slices, Bootstrap(resamples=40, seed=1))))
    monkeypatch.setattr("blipvqa.numbers.bootstrap.CHUNK", 8)  # two resamples at a time
    assert [sums.shape for sums in resample(counts, groups, slices, Bootstrap(resamples=40, seed=1))] == [
        (40, len(MEASURES.columns))
    ] * 2


def test_a_resampled_sum_is_the_weighted_sum_over_groups():
    counts, groups = counts_of([1, 0, 1]), np.array([0, 0, 1])
    present, sums = sum_by_group(counts, groups)
    assert (present.tolist(), sums[:, RIGHT].tolist(), sums[:, ALL].tolist()) == ([0, 1], [1, 1], [2, 1])
    weights = np.concatenate(list(bootstrap_weights(2, Bootstrap(resamples=30, seed=3))))
    (resampled,) = resample(counts, groups, [np.arange(3)], Bootstrap(resamples=30, seed=3))
    assert np.array_equal(resampled[:, ALL], weights @ [2, 1])


def test_the_same_seed_gives_the_same_interval():
    right, groups = [1, 0, 1, 1, 0, 0, 1, 1], [0, 0, 1, 2, 3, 4, 5, 5]
    assert share(right, groups, Bootstrap(seed=4)) == share(right, groups, Bootstrap(seed=4))
    assert share(right, groups, Bootstrap(seed=4)) != share(right, groups, Bootstrap(seed=5))


def test_questions_on_one_image_are_not_independent():
    """Ten questions an image, all right or all wrong, are 40 draws: width 2 * 1.96 * sqrt(0.25/40) = 0.31."""
    right = np.repeat(np.arange(40) % 2, 10)
    by_image = share(right, np.repeat(np.arange(40), 10))
    by_question = share(right, np.arange(400))
    assert by_image["high"] - by_image["low"] == pytest.approx(0.31, abs=0.03)
    assert by_question["high"] - by_question["low"] == pytest.approx(0.098, abs=0.015)  # sqrt(10) narrower, and wrong


def test_intervals_cover_the_truth_as_often_as_they_say():
    """200 test sets of 60 images with 1-8 questions, as hard as their image; the truth is 0.6."""
    generator, covered, naive = np.random.default_rng(0), 0, 0
    for seed in range(200):
        groups = np.repeat(np.arange(60), generator.integers(1, 9, size=60))
        right = generator.random(len(groups)) < generator.beta(1.2, 0.8, size=60)[groups]  # mean 1.2 / 2 = 0.6
        entry = share(right, groups, Bootstrap(resamples=200, seed=seed))
        covered += entry["low"] <= 0.6 <= entry["high"]
        naive += abs(right.mean() - 0.6) < 1.96 * np.sqrt(0.24 / len(right))
    assert 0.90 <= covered / 200 <= 0.99
    assert naive / 200 < 0.85  # what intervals over questions would have promised


def test_unanimous_images_are_no_certainty():
    """A bootstrap alone would say 1 to 1. By hand, few groups: Wilson at 9 of 9 with t = 2.306, 9 / (9 + t^2) = 0.629."""
    entry = share([1] * 9, np.arange(9))
    assert (entry["value"], entry["high"]) == (1, 1)
    assert entry["low"] == pytest.approx(9 / (9 + 2.306004**2), abs=1e-5)
    none_right = share([0] * 9, np.arange(9))
    assert (none_right["low"], none_right["high"]) == (0, pytest.approx(2.306004**2 / (9 + 2.306004**2), abs=1e-5))
    many = share([1] * FEW, np.arange(FEW))  # Clopper and Pearson's bound beside percentiles without width
    assert (many["low"], many["high"]) == (pytest.approx(0.025 ** (1 / FEW)), 1)


def test_ten_images_with_one_wrong_answer_are_no_precise_measurement():
    """100 questions on 10 images, one wrong: a percentile interval said 0.97 to 1."""
    entry = share([0] + [1] * 99, np.repeat(np.arange(10), 10))
    assert (entry["n"], entry["groups"]) == (100, 10)
    assert entry["low"] < 0.93 and 0.99 < entry["high"] < 1


def test_from_a_stated_number_of_groups_on_intervals_are_percentiles():
    right = np.arange(3 * FEW) % 3 == 0
    entry = share(right, np.arange(3 * FEW))
    (sums,) = resample(counts_of(right), np.arange(3 * FEW), [np.arange(3 * FEW)], BY_IMAGE)
    low, high = np.quantile(sums[:, RIGHT] / sums[:, ALL], (0.025, 0.975))
    assert (entry["low"], entry["high"]) == (low, high)


def test_students_quantiles_are_those_of_the_tables():
    assert [student(n) for n in (1, 2, 9, 29)] == pytest.approx([12.706, 4.303, 2.262, 2.045], abs=1e-3)
    assert [quantile_of(n) for n in (0.5, 9, 9.5, 1e6)] == pytest.approx([12.706, 2.262, 2.245, 1.960], abs=2e-3)
    assert [student_tail(t, 9) for t in (-2.262157, 0.0, 3.249836)] == pytest.approx([0.05, 1, 0.01], abs=1e-5)


def test_a_mean_over_some_rows_is_resampled_over_all_images():
    """Three rows on two images of ten: many a resample has one of the two alone, some have neither."""
    entry = estimate_mean([0.2, 0.4, *[1.0] * 9], np.array([0, *range(10)]), Bootstrap(seed=1), np.array([0, 1, 2]))
    assert (entry["value"], entry["n"], entry["groups"]) == (pytest.approx(1.6 / 3), 3, 2)
    assert entry["low"] < 0.1 and entry["high"] > 0.9  # from two images nothing follows


def test_one_image_or_no_resamples_gives_no_interval():
    assert share([1, 0, 1], [0, 0, 0]) == {
        "value": pytest.approx(2 / 3),
        "n": 3,
        "groups": 1,
        "low": None,
        "high": None,
    }
    assert share([1, 0, 1], [0, 1, 2], NO_INTERVALS)["low"] is None
    assert interval(0.5, np.array([np.nan, np.nan]), np.ones(5)) == (None, None)


def test_rows_without_a_patient_stand_for_their_image():
    pairs = zip("aabc", ["p1", None, None, "p1"], strict=True)
    rows = [{"id": "test/0", "image_id": image, "patient": patient} for image, patient in pairs]
    assert Bootstrap("patient").groups_of(rows).tolist() == [0, 1, 2, 0]
    assert BY_IMAGE.groups_of(rows).tolist() == [0, 0, 1, 2]
    assert Bootstrap("patient").groups_of(rows[1:3]).tolist() == [0, 1]  # as some rows are, all of which are unknown
    with pytest.raises(ValueError, match="no row has the group column 'slide'; there are id, image_id"):
        Bootstrap("slide").groups_of(rows)


def test_an_undefined_statistic_is_none_and_is_left_out_of_resamples():
    """0 of 0 is no number: taken for 0 it would be a score, and pull the interval down."""
    groups = np.array([0, 1, 2])
    undefined = estimate_statistic(np.zeros((3, 2)), groups, lambda sums: divide(sums[..., 0], sums[..., 1]))
    assert undefined == nothing_counted()
    assert np.isnan(calibration_error(count_bins(np.array([]), np.array([]), 15).sum(axis=0)))
    entry = estimate_mean([0.9, 0.0, 0.0], groups, rows=np.array([0]))
    assert (entry["value"], entry["n"], entry["low"]) == (0.9, 1, None)


def test_the_same_rows_in_another_order_have_the_same_interval():
    draw = np.random.default_rng(0)
    rows = [{"image_id": f"image {i}", "patient": i % 40 if i % 7 else None} for i in range(120)]
    right = draw.random(120) < 0.6
    for bootstrap in (BY_IMAGE, Bootstrap("patient")):
        entries = []
        for order in (np.arange(120), draw.permutation(120)):
            groups = bootstrap.groups_of([rows[i] for i in order])
            entries.append(share(right[order], groups, bootstrap))
        assert entries[0] == entries[1]
