"""AUROC by hand, with ties and weights."""

import numpy as np
import pytest

from blipvqa.numbers.ranking import auroc, estimate_auroc


def test_auroc_counts_pairs_and_half_of_the_ties():
    # positives 0.9, 0.5; negatives 0.5, 0.1: pairs won 1 + 1 + 1/2 + 1 of 4
    assert auroc(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1, 1, 0, 0])) == pytest.approx(3.5 / 4)
    assert auroc(np.array([0.3] * 4), np.array([1, 0, 1, 0])) == 0.5
    assert np.isnan(auroc(np.array([0.3, 0.4]), np.array([1, 1])))


def test_a_weight_is_a_row_that_stands_there_more_often():
    scores, positive, weights = np.array([0.9, 0.4, 0.6, 0.1]), np.array([1, 1, 0, 0]), np.array([1, 3, 2, 1])
    assert auroc(scores, positive, weights) == auroc(np.repeat(scores, weights), np.repeat(positive, weights))


def test_confidence_that_says_nothing_has_an_interval_around_a_half():
    generator = np.random.default_rng(1)
    entry = estimate_auroc(generator.random(400), generator.random(400) < 0.5, np.repeat(np.arange(100), 4))
    assert entry["low"] < 0.5 < entry["high"] and (entry["n"], entry["groups"]) == (400, 100)
    assert estimate_auroc([], [], np.array([], int))["value"] is None
