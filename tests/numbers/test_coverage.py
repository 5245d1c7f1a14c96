"""Intervals cover the truth as often as they say, however few the groups and however much their rows repeat each other.

`pytest -s -m slow tests/numbers/test_coverage.py` prints the table of `docs/measures.md`.
"""

import numpy as np
import pytest

from blipvqa.numbers import bootstrap as module
from blipvqa.numbers.bootstrap import Bootstrap, bootstrap_weights, interval

SHARES = (0.5, 0.7, 0.9, 0.95, 0.98, 1.0)
CORRELATIONS = (0.0, 0.3, 0.8)  # of two rows of one group
GROUPS = (5, 10, 30, 100, 200, 858)
SETS = 2000
NOISE = 3 * (0.95 * 0.05 / SETS) ** 0.5  # of a share of so many drawn sets: 1.5 in a hundred


def coverage(groups: int, share: float, correlation: float, sets: int, most: int = 10, method=interval) -> float:
    """How many of `sets` drawn data sets have the true share in their interval; groups of 1 to `most` rows."""
    generator = np.random.default_rng([groups, round(1000 * share), round(10 * correlation), most])
    rows = generator.integers(1, most + 1, size=(groups, sets)).astype(float)
    ease = np.full((groups, sets), share)
    if correlation and share < 1:
        strength = 1 / correlation - 1
        ease = generator.beta(share * strength, (1 - share) * strength, size=(groups, sets))
    right = generator.binomial(rows.astype(int), ease).astype(float)
    weights = np.concatenate(list(bootstrap_weights(groups, Bootstrap())))
    resampled = (weights @ right) / (weights @ rows)
    values = right.sum(axis=0) / rows.sum(axis=0)
    bounds = [method(values[i], resampled[:, i], rows[:, i]) for i in range(sets)]
    return float(np.mean([low - 1e-9 <= share <= high + 1e-9 for low, high in bounds]))


def told(correlation: float):
    """Wilson's interval of somebody who knows how much the rows of a group repeat each other."""

    def method(value, _resampled, sizes):
        effect = 1 + (float(sizes @ sizes) / sizes.sum() - 1) * correlation
        squared = 1.96**2 * effect / sizes.sum()
        half = (squared * (value * (1 - value) + squared / 4)) ** 0.5
        return (value + squared / 2 - half) / (1 + squared), (value + squared / 2 + half) / (1 + squared)

    return method


@pytest.mark.parametrize(("groups", "share", "correlation"), [(10, 0.9, 0.3), (30, 0.95, 0.8)])
def test_intervals_of_few_groups_cover_the_truth(groups, share, correlation, monkeypatch):
    assert coverage(groups, share, correlation, 500) >= 0.93
    monkeypatch.setattr(module, "FEW", 0)  # a percentile bootstrap alone
    assert coverage(groups, share, correlation, 500) < 0.91


def test_rare_mistakes_are_covered_where_wilson_alone_misses():
    """Five images with a question each and a share of 0.98: one is wrong in nine sets of a hundred."""
    assert coverage(5, 0.98, 0, 1000, most=1, method=told(0)) < 0.92
    assert coverage(5, 0.98, 0, 1000, most=1) > 0.98


@pytest.mark.slow
def test_coverage_at_any_number_of_groups(monkeypatch):
    few, wrong = module.FEW, {}
    print("\n| groups | rows of each | correlation | | " + " | ".join(f"{share:g}" for share in SHARES) + " |")
    for groups in GROUPS:
        for most, correlation in ((1, 0.0), *((10, each) for each in CORRELATIONS)):
            for name, limit in (("percentile", 0), ("told", None), ("ours", few)):
                if name == "percentile" and groups >= few:
                    continue
                monkeypatch.setattr(module, "FEW", limit)
                method = told(correlation) if name == "told" else interval
                covered = [coverage(groups, share, correlation, SETS, most, method) for share in SHARES]
                cells = " | ".join(f"{100 * each:.1f}" for each in covered)
                print(
                    f"| {groups} | {f'1 to {most}' if most > 1 else 1} | {correlation:g} | {name} | {cells} |",
                    flush=True,
                )
                if name == "ours" and min(covered) < 0.93 - NOISE:
                    wrong[groups, most, correlation] = covered
    assert wrong == {}
