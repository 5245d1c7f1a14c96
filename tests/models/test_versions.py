"""A transformers that no test has seen is tried before it is believed."""

import warnings

import pytest
import transformers
from test_package import PROJECT

from blipvqa.models import versions
from blipvqa.models.folders import ModelError
from blipvqa.models.loading import load_model


@pytest.fixture(autouse=True)
def ask_again():
    versions.check_transformers.cache_clear()
    yield
    versions.check_transformers.cache_clear()


def test_the_tested_versions_are_those_that_pip_may_install():
    (bounds,) = (each for each in PROJECT["project"]["dependencies"] if each.startswith("transformers"))
    (first, last) = versions.TESTED
    assert bounds == f"transformers>={first[0]}.{first[1]}.1,<{last[0]}.{last[1] + 1}"


@pytest.mark.parametrize("version", ["5.15.3", "5.25.0.dev0", "6.0.0"])
def test_an_untested_version_with_the_same_numbers_is_warned_of_once(version, monkeypatch):
    monkeypatch.setattr(transformers, "__version__", version)
    with pytest.warns(UserWarning, match=f"transformers {version} is not tested"):
        versions.check_transformers()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        versions.check_transformers()


def test_an_untested_version_with_other_numbers_loads_no_model(monkeypatch):
    monkeypatch.setattr(transformers, "__version__", "5.30.0")
    monkeypatch.setattr(versions, "ANSWERS", [[22, 15, 13, 10, 2], [22, 15, 6, 4, 16]])
    with pytest.raises(ModelError, match=r"transformers 5\.30\.0 computes other numbers for BLIP than 5.16 to 5.24"):
        load_model("scratch")


def test_the_numbers_are_those_that_stand_here():
    """On a version that is tested, so that the numbers are not those of whatever is installed alone."""
    loss, answers = versions.small_numbers()
    assert loss == pytest.approx(versions.LOSS, abs=1e-4) and answers == versions.ANSWERS
