"""Differences of two matrices of counts: the test by exchange, its intervals, and many of them at once."""

import numpy as np
import pytest

from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.comparison import adjusted, compare_counts, difference_interval, holm
from blipvqa.numbers.measures import Measures, ratio
from blipvqa.numbers.shrinkage import shrunk

MEASURES = Measures({"share": ratio("right", "all", "share of rows that are right")})


SOME = Bootstrap(resamples=400)


def compared(a, b, groups, bootstrap=SOME):
    """The difference in the share of rows that are right."""
    counts = [MEASURES.matrix({"all": 1, "right": each} for each in right) for right in (a, b)]
    everything = [np.arange(len(a))]
    return next(compare_counts(*counts, np.asarray(groups), everything, MEASURES, ["share"], bootstrap))["share"]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 * 0.01; 2 * 0.03; 0.04 is raised to it
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_of_many_tests_only_the_surest_stays_real():
    alone = compared([0] * 6, [1] * 6, range(6))
    assert alone["p"] == alone["p_holm"] == pytest.approx(2 / 2**6) and alone["real"]
    beside_another = adjusted([alone, alone])
    assert [entry["real"] for entry in beside_another] == [False, False]
    assert beside_another[0]["p_holm"] == pytest.approx(4 / 2**6)


def test_the_test_exchanges_whole_groups():
    """Forty rows that all got better, on four images: as a coin with four heads, 2 / 2^4."""
    assert compared([0] * 40, [1] * 40, np.repeat(np.arange(4), 10))["p"] == pytest.approx(2 / 2**4)
    many = compared([0] * 40, [1] * 40, range(40))
    assert 0 < many["p"] < 0.001  # never 0: of 4,000 exchanges none is as large
    assert compared([0, 1] * 20, [0, 1] * 20, range(40))["p"] == 1


def test_without_resamples_or_a_second_group_there_is_no_test():
    for entry in (compared([0] * 6, [1] * 6, range(6), Bootstrap(resamples=0)), compared([0] * 6, [1] * 6, [0] * 6)):
        assert (entry["low"], entry["p"], entry["p_holm"], entry["real"]) == (None, None, None, False)


def test_a_difference_of_few_images_has_an_interval_that_allows_for_what_was_not_seen():
    """Ten of ten images unchanged: a bootstrap alone would say that the difference is 0, without width."""
    entry = compared([1] * 10, [1] * 10, range(10))
    assert entry["low"] < -0.05 and entry["high"] > 0.05
    assert difference_interval(0.0, np.zeros(50), np.ones(1)) == (None, None)


@pytest.mark.parametrize("images", [10, 30])
def test_intervals_of_differences_cover_the_truth(images):
    """Two runs on the same images, 0.9 and 0.8 right; percentiles cover it less often."""
    generator, groups = np.random.default_rng(images), np.repeat(np.arange(images), 5)
    covered = percentiles = 0
    for seed in range(300):
        a, b = (generator.random(len(groups)) < share for share in (0.9, 0.8))
        sums = np.stack([b.astype(float) - a, np.ones(len(groups))])
        by_image = np.stack([np.bincount(groups, each) for each in sums], axis=1)
        drawn = by_image[np.random.default_rng(seed).integers(images, size=(200, images))].sum(axis=1)
        samples = drawn[:, 0] / drawn[:, 1]
        low, high = difference_interval(b.mean() - a.mean(), samples, np.full(images, 5.0))
        covered += low <= -0.1 <= high
        low, high = np.quantile(samples, (0.025, 0.975))
        percentiles += low <= -0.1 <= high
    assert covered / 300 >= 0.94
    assert covered > percentiles


def test_shrunk_shares_lie_between_their_own_and_the_mean_of_all():
    values, lows, highs = [0.2, 0.5, 0.8], [0.0, 0.45, 0.75], [0.6, 0.55, 0.85]
    near_mean, middle, high = shrunk(values, lows, highs)
    assert 0.2 < near_mean < 0.5 and abs(middle - 0.5) < 0.03 and 0.7 < high < 0.8  # the unsure one moves most
    assert shrunk([0.4, 0.5, 0.6], [0.1] * 3, [0.9] * 3) == pytest.approx([0.5] * 3)  # they differ by chance alone
