"""Thresholds by hand."""

import numpy as np
import pytest

from blipvqa.numbers.thresholds import FEWEST, accuracy_frontier, threshold_for, threshold_for_sensitivity


def test_the_lowest_threshold_that_reaches_a_wish_is_taken():
    # twenty sure rows, 19 right; ten unsure ones, 5 right: 24 of 30 above 0.2, 19 of 20 above 0.9
    frontier = accuracy_frontier([0.9] * 20 + [0.2] * 10, [0] + [1] * 19 + [1, 0] * 5)
    assert frontier == [[0.2, pytest.approx(24 / 30)], [0.9, pytest.approx(19 / 20)]]
    assert [threshold_for(frontier, wish) for wish in (0.5, 0.8, 0.81, 0.95, 0.96)] == [0.2, 0.2, 0.9, 0.9, None]
    assert accuracy_frontier([], []) == []


def test_a_handful_of_sure_rows_is_no_threshold():
    frontier = accuracy_frontier(np.linspace(0, 1, 40), [0] * 20 + [1] * 20)
    assert all(sum(value >= threshold for value in np.linspace(0, 1, 40)) >= FEWEST for threshold, _ in frontier)
    assert accuracy_frontier([0.9] * (FEWEST - 1), [1] * (FEWEST - 1)) == []


def test_the_highest_threshold_that_keeps_a_sensitivity_is_taken():
    scores, positive = [0.9, 0.8, 0.6, 0.3, 0.1], [1, 1, 0, 1, 1]
    assert threshold_for_sensitivity(scores, positive, 0.75) == 0.3  # three of four
    assert threshold_for_sensitivity(scores, positive, 0.76) == 0.1
    assert threshold_for_sensitivity(scores, [0] * 5, 0.9) is None
