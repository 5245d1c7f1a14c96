"""A calibration must find the temperature that distorted a probability, and not break on few answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blipvqa.numbers.calibration import (
    calibrate,
    calibration_error,
    count_bins,
    estimate_calibration_error,
    fit,
    reliability_bins,
)

CHANCES = st.floats(0, 1)


def error_of(confidences, right, bins=15):
    counts = count_bins(np.asarray(confidences, float), np.asarray(right, float), bins)
    return float(calibration_error(counts.sum(axis=0)))


def test_expected_calibration_error_by_hand():
    # two bins of ten: [0.9, 0.8] right, wrong: |1 - 1.7| = 0.7; [0.3, 0.1] wrong, wrong: |0 - 0.4| = 0.4; / 4
    assert error_of([0.9, 0.8, 0.3, 0.1], [1, 0, 0, 0], bins=2) == pytest.approx(1.1 / 4)
    assert error_of([1.0, 0.0], [1, 0]) == 0
    assert error_of([1.0], [0]) == 1
    assert np.isnan(error_of([], []))


def test_bins_are_open_below_and_closed_above():
    low, high = reliability_bins([0.0, 0.5, 0.5, 0.51], [0, 1, 0, 1], bins=2)
    assert low == {"low": 0.0, "high": 0.5, "n": 3, "confidence": pytest.approx(1 / 3), "accuracy": 1 / 3}
    assert high == {"low": 0.5, "high": 1.0, "n": 1, "confidence": 0.51, "accuracy": 1.0}
    assert reliability_bins([], [])[0] == {
        "low": 0,
        "high": 1 / 15,
        "n": 0,
        "confidence": None,
        "accuracy": None,
    }


def test_a_confidence_outside_0_and_1_is_refused():
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="lies in"):
            reliability_bins([0.5, wrong], [1, 1])


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.4, 0.0), (2.0, 0.0)])
def test_the_temperature_that_distorted_is_found(slope, offset):
    """Right with probability p, stated as sigmoid(logit(p) / slope): the temperature to find is 1 / slope."""
    generator = np.random.default_rng(0)
    chance = generator.uniform(0.02, 0.98, 4000)
    stated = 1 / (1 + np.exp(-np.log(chance / (1 - chance)) / slope))
    right = generator.random(4000) < chance
    fitted = fit(stated, right, with_offset=False)
    assert fitted["temperature"] == pytest.approx(1 / slope, rel=0.08)
    assert (fitted["offset"], fitted["n"]) == (0, 4000)
    after = [calibrate(value, fitted) for value in stated]
    assert error_of(after, right) < 0.03
    assert slope == 1 or error_of(stated, right) > 0.08


def test_an_offset_repairs_what_no_temperature_can():
    """Always 50 % sure, right one time in five: a temperature leaves 0.5 at 0.5, an offset moves it."""
    stated, right = np.full(500, 0.5), np.arange(500) % 5 == 0
    assert calibrate(0.5, fit(stated, right, with_offset=False)) == 0.5
    assert calibrate(0.5, fit(stated, right, with_offset=True)) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("with_offset", [False, True])
def test_no_answers_change_nothing(with_offset):
    assert fit([], [], with_offset=with_offset) == {"temperature": 1, "offset": 0, "n": 0}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CHANCES, st.booleans()), max_size=30), st.booleans(), CHANCES, CHANCES)
def test_any_answers_give_a_usable_calibration_that_keeps_the_order(pairs, with_offset, one, other):
    """Perfectly separated, all right, all wrong, the surest ones wrong: always finite, never upside down."""
    fitted = fit([c for c, _ in pairs], [right for _, right in pairs], with_offset=with_offset)
    assert 0 < fitted["temperature"] <= 20 * (1 + 1e-9)
    low, high = sorted([one, other])
    assert 0 <= calibrate(low, fitted) <= calibrate(high, fitted) <= 1


def test_the_likelihood_is_at_its_maximum():
    """No neighbouring temperature or offset explains the answers better, the prior included."""
    generator = np.random.default_rng(3)
    stated = generator.uniform(0.01, 0.99, 60)
    right = generator.random(60) < 0.5 * stated
    log_odds = np.log(stated / (1 - stated))

    def loss(slope, offset):
        chance = 1 / (1 + np.exp(-(slope * log_odds + offset)))
        likelihood = np.where(right, np.log(chance), np.log(1 - chance)).sum()
        return -likelihood + ((slope - 1) ** 2 + offset**2) / 2

    fitted = fit(stated, right, with_offset=True)
    slope, offset = 1 / fitted["temperature"], fitted["offset"]
    for ds, do in [(0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)]:
        assert loss(slope, offset) < loss(slope + ds, offset + do)


def test_a_perfectly_calibrated_model_is_told_from_a_boastful_one():
    """The measured error of 300 calibrated answers is 0.06 by noise alone; a percentile interval excludes the truth, 0."""
    generator, groups = np.random.default_rng(0), np.repeat(np.arange(60), 5)
    stated = generator.random(300) ** 0.5
    honest = estimate_calibration_error(stated, generator.random(300) < stated, groups)
    assert honest["value"] > 0.03 and honest["floor"] == pytest.approx(honest["value"], rel=0.5)
    assert honest["low"] == 0 < honest["high"]
    boastful = estimate_calibration_error(stated, generator.random(300) < stated**3, groups)
    assert boastful["low"] > boastful["floor"] > 0
    assert estimate_calibration_error(stated[:0], stated[:0], groups[:0])["floor"] is None
