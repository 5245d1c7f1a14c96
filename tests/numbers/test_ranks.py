"""Ranks of retrieval: the authors' numbers, ties against ourselves, several right ones, chance."""

import json

import numpy as np
import pytest
from conftest import REFERENCE

from blipvqa.numbers.bootstrap import NO_INTERVALS, Bootstrap, estimate
from blipvqa.numbers.measures import Measures
from blipvqa.numbers.ranks import (
    best_ranks,
    chance_columns,
    chance_of_recall,
    estimate_median,
    mean_of_both,
    median,
    median_by_chance,
    rank_columns,
    rank_measures,
    shortlist_ranks,
)

MEASURES = Measures(
    rank_measures("txt", "text") | rank_measures("img", "picture") | {"r_mean": mean_of_both("txt", "img")}
)


def test_recalls_are_the_authors_on_their_matrix():
    expected = json.loads((REFERENCE / "blip-tiny-retrieval" / "expected.json").read_text())["itm_eval"]
    texts = best_ranks(np.array(expected["scores_i2t"]), [np.array(right) for right in expected["img2txt"]])
    images = best_ranks(np.array(expected["scores_t2i"]), [np.array([right]) for right in expected["txt2img"]])
    counts = MEASURES.matrix([rank_columns("txt", rank) for rank in texts] + [rank_columns("img", r) for r in images])
    (scores,) = estimate(counts, np.arange(105), [np.arange(105)], MEASURES, MEASURES, NO_INTERVALS)
    for name, percent in expected["result"].items():
        assert 100 * scores[name]["value"] == pytest.approx(percent, abs=1e-4), name
    assert scores["txt_r1"]["n"] == 30 and scores["img_r1"]["n"] == 75


def test_several_right_ones_count_once_and_do_not_stand_before_each_other():
    scores = np.array([[0.1, 0.9, 0.8, 0.7]])
    assert best_ranks(scores, [np.array([0])]).tolist() == [4]
    assert best_ranks(scores, [np.array([0, 2])]).tolist() == [2]
    assert best_ranks(scores, [np.array([1, 2, 3])]).tolist() == [1]


def test_ties_and_scores_that_are_no_numbers_go_against_ourselves():
    assert best_ranks(np.full((1, 5), 0.3), [np.array([0])]).tolist() == [5]
    assert best_ranks(np.full((1, 5), 0.3), [np.array([0, 1])]).tolist() == [4]
    assert best_ranks(np.array([[np.nan, 0.1, 0.2]]), [np.array([0])]).tolist() == [3]
    assert best_ranks(np.array([[0.5, np.nan, 0.2]]), [np.array([0])]).tolist() == [2]


def test_outside_the_shortlist_every_wrong_candidate_stands_before():
    candidates, scores = np.array([[3, 1], [0, 2]]), np.array([[0.2, 0.9], [0.5, 0.1]])
    right = [np.array([3]), np.array([1, 3])]
    assert shortlist_ranks(candidates, scores, right, gallery=6).tolist() == [2, 5]


def test_chance_is_that_of_many_random_orders():
    rng, right = np.random.default_rng(0), [np.array([0]), np.array([1, 2, 3])]
    ranks = np.stack([best_ranks(rng.random((2, 12)), right) for _ in range(4000)])
    numbers = np.array([1, 3])
    columns = chance_columns("txt", numbers, 12)
    for k in (1, 5, 10):
        assert columns[f"txt_{k}"] == pytest.approx((ranks <= k).mean(0), abs=0.03)
    assert columns["txt_ranks"] == pytest.approx(ranks.mean(0), rel=0.03)
    assert abs(median_by_chance(numbers, 12) - np.median(ranks)) <= 1
    assert chance_of_recall(10, np.array([1]), 4).tolist() == [1]
    assert median_by_chance(np.array([1]), 101) == 51


def test_the_median_counts_weights_and_lies_between_two_middle_ranks():
    ranks = np.array([9, 1, 2, 4])
    assert median(ranks, np.ones(4)) == 3 == np.median(ranks)
    assert median(ranks, np.array([0, 3, 1, 1])) == 1
    assert median(ranks, np.array([1, 0, 1, 0])) == 5.5
    assert np.isnan(median(ranks, np.zeros(4)))
    entry = estimate_median(np.arange(1, 60), np.arange(59), Bootstrap(resamples=200))
    assert entry["value"] == 30 and 15 < entry["low"] < 30 < entry["high"] < 45 and entry["n"] == 59
    assert estimate_median(np.array([]), np.array([], int))["value"] is None
