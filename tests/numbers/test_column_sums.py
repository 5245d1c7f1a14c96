"""Measures of any counted thing: here baskets of fruit, so that no question sneaks in."""

import numpy as np
import pytest

from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.comparison import compare_counts
from blipvqa.numbers.measures import Measure, Measures, divide, ratio

FRUIT = Measures(
    {
        "ripe": ratio("ripe", "all", "share of fruit that is ripe"),
        "weight_of_pears": ratio("weight", "pears", "mean weight of a pear", "weight of a pear"),
        "spread": Measure(lambda ripe, pears: ripe - pears, ("ripe", "pears"), "all", "ripe fruit minus pears"),
    }
)
BASKET = [{"all": 1, "ripe": 1}, {"all": 1}, {"all": 1, "ripe": 1, "pears": 1, "weight": 0.2}]


def test_columns_are_those_that_measures_use_in_order_of_first_use():
    assert FRUIT.columns == ("ripe", "all", "weight", "pears")
    assert FRUIT.matrix(BASKET).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 0.2, 1]]
    assert FRUIT.matrix([]).shape == (0, 4)


def test_measures_of_one_sum_and_of_many():
    counts = FRUIT.matrix(BASKET)
    values = FRUIT.of_sums(counts.sum(axis=0), FRUIT)
    assert {name: float(value) for name, value in values.items()} == pytest.approx(
        {"ripe": 2 / 3, "weight_of_pears": 0.2, "spread": 1}
    )
    one_by_one = FRUIT.of_sums(counts, ["weight_of_pears"])["weight_of_pears"]
    assert np.isnan(one_by_one[:2]).all() and one_by_one[2] == pytest.approx(0.2)  # no pear, no weight


def test_which_rows_a_measure_counts_and_how_people_read_its_name():
    assert FRUIT.counted_rows("weight_of_pears", FRUIT.matrix(BASKET)).tolist() == [False, False, True]
    assert (FRUIT.title("ripe"), FRUIT.title("weight_of_pears")) == ("ripe", "weight of a pear")
    assert Measures({"a_b": FRUIT["ripe"]}).title("a_b") == "a b"


def test_a_count_without_a_column_is_refused():
    with pytest.raises(KeyError, match="plums"):
        FRUIT.matrix([{"plums": 1}])


def test_a_quotient_by_nothing_is_no_number():
    assert np.isnan(divide(0, 0)) and np.isnan(divide(1, 0))
    assert divide([1, 2], [2, 0])[0] == 0.5


def test_two_counts_of_the_same_rows_are_compared_in_pairs():
    a = FRUIT.matrix([{"all": 1}] * 12)
    b = FRUIT.matrix([{"all": 1, "ripe": int(i < 6)} for i in range(12)])
    groups, slices = np.arange(12), [np.arange(12), np.arange(6, 12)]
    changed, same = compare_counts(a, b, groups, slices, FRUIT, ["ripe", "weight_of_pears"], Bootstrap(seed=1))
    assert (changed["ripe"]["difference"], changed["ripe"]["n"], changed["ripe"]["real"]) == (0.5, 12, True)
    assert changed["ripe"]["low"] > 0
    assert (same["ripe"]["difference"], same["ripe"]["real"]) == (0, False)
    assert changed["weight_of_pears"]["difference"] is None  # neither run has a pear
    one_group = next(compare_counts(a, b, np.zeros(12, int), slices, FRUIT, ["ripe"], Bootstrap()))
    assert (one_group["ripe"]["low"], one_group["ripe"]["real"]) == (None, False)
