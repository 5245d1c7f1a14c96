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


def coverage(groups: int, share: float, correlation: float, sets: int = 1000) -> float:
    """How many of `sets` drawn data sets have the true share in their interval; groups of 1 to 10 rows."""
    generator = np.random.default_rng([groups, round(1000 * share), round(10 * correlation)])
    rows = generator.integers(1, 11, size=(groups, sets)).astype(float)
    ease = np.full((groups, sets), share)
    if correlation and share < 1:
        strength = 1 / correlation - 1
        ease = generator.beta(share * strength, (1 - share) * strength, size=(groups, sets))
    right = generator.binomial(rows.astype(int), ease).astype(float)
    weights = np.concatenate(list(bootstrap_weights(groups, Bootstrap())))
    resampled = (weights @ right) / (weights @ rows)
    values = right.sum(axis=0) / rows.sum(axis=0)
    bounds = [interval(values[i], resampled[:, i], rows[:, i]) for i in range(sets)]
    return float(np.mean([low - 1e-9 <= share <= high + 1e-9 for low, high in bounds]))


@pytest.mark.parametrize(("groups", "share", "correlation"), [(10, 0.9, 0.3), (30, 0.95, 0.8)])
def test_intervals_of_few_groups_cover_the_truth(groups, share, correlation, monkeypatch):
    assert coverage(groups, share, correlation, 500) >= 0.93
    monkeypatch.setattr(module, "FEW", 0)  # a percentile bootstrap alone
    assert coverage(groups, share, correlation, 500) < 0.91


@pytest.mark.slow
def test_coverage_at_any_number_of_groups(monkeypatch):
    few, lowest = module.FEW, {}
    print("\n| groups | correlation | | " + " | ".join(f"{share:g}" for share in SHARES) + " |")
    for groups in GROUPS:
        for correlation in CORRELATIONS:
            for name, limit in (("percentile", 0), ("ours", few))[groups >= few :]:
                monkeypatch.setattr(module, "FEW", limit)
                covered = [coverage(groups, share, correlation) for share in SHARES]
                lowest[groups, correlation, name] = min(covered)
                cells = " | ".join(f"{100 * each:.1f}" for each in covered)
                print(f"| {groups} | {correlation:g} | {name} | {cells} |", flush=True)
    ours = {key: value for key, value in lowest.items() if key[2] == "ours"}
    assert min(ours.values()) >= 0.93 - 0.014, ours  # 1,000 data sets are sure to 0.014
