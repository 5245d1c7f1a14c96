"""Conformal thresholds: coverage over new groups is what was promised, and not much more."""

import math

import numpy as np
import pytest

from blipvqa.numbers.conformal import conformal_threshold, fewest_groups


def drawn(draw: np.random.Generator, count: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 1 to 10 rows a group that share part of their luck, and each row's group."""
    groups = np.repeat(np.arange(count), draw.integers(1, 11, size=count))
    shared = draw.normal(size=count)[groups]
    scores = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * draw.normal(size=len(groups))
    return scores, groups


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("count", [10, 40])
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_new_groups_are_covered_as_promised(level, count, correlation):
    draw = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        threshold = conformal_threshold(*drawn(draw, count, correlation), level)
        scores, groups = drawn(draw, 200, correlation)
        inside = scores <= threshold
        covered.append(np.mean([inside[groups == group].mean() for group in range(0, 200, 10)]))
    noise = 3 * np.std(covered) / math.sqrt(len(covered))
    assert level - noise <= np.mean(covered) <= level + 1 / (count + 1) + 0.02 + noise


def test_too_few_groups_or_right_answers_that_are_no_candidate_have_no_threshold():
    assert [fewest_groups(level) for level in (0.8, 0.9, 0.95)] == [4, 9, 19]
    for level in (0.8, 0.9, 0.95):
        count = fewest_groups(level)
        assert math.isinf(conformal_threshold(np.zeros(count - 1), np.arange(count - 1), level))
        assert conformal_threshold(np.arange(count), np.arange(count), level) == count - 1
    scores = [0.1] * 8 + [math.inf] * 2
    assert math.isinf(conformal_threshold(scores, np.arange(10), 0.8))  # 8 / 11 is less than 0.8
    assert conformal_threshold(scores, np.arange(10), 0.7) == 0.1
    assert math.isinf(conformal_threshold([], np.zeros(0, int), 0.8))


def test_a_group_of_many_rows_counts_as_one():
    scores, groups = np.r_[np.zeros(100), 1, 2, 3, 4], np.r_[np.zeros(100, int), 1, 2, 3, 4]
    assert conformal_threshold(scores, groups, 0.8) == 4
    assert conformal_threshold(scores, groups, 0.5) == 2
