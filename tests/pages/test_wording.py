"""Numbers, intervals and paths as text: written once, the same in tables, figures and cards."""

import pytest

from blipvqa.pages.wording import count, interval, last_part, number, p_value, share


def test_numbers_and_intervals():
    entry = {"value": 0.25, "n": 1234, "low": 0.0, "high": 0.5}
    assert (number(entry), interval(entry), count(entry)) == ("0.250", "0.000 to 0.500", "1,234")
    assert number({"difference": 0.1}, "difference", sign=True) == "+0.100"
    assert interval({"low": -0.1, "high": 0.2}, sign=True) == "-0.100 to +0.200"
    assert (share(0.256), share(None)) == ("26%", "–")


@pytest.mark.parametrize("entry", [None, {}, {"value": None, "n": None, "low": None, "high": None}])
def test_what_is_not_known_is_a_dash(entry):
    assert (number(entry), interval(entry), count(entry)) == ("–", "–", "–")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("Salesforce/blip-vqa-base", "Salesforce/blip-vqa-base"),
        ("synthetic", "synthetic"),
        ("/data/patients/study 7", "study 7"),
        ("../mine", "mine"),
        ("~/slides", "slides"),
        ("D:\\me\\slides", "slides"),
    ],
)
def test_a_page_does_not_tell_where_files_lay(path, shown):
    assert last_part(path) == shown


def test_no_p_value_is_shown_as_0():
    assert [p_value({"p": p}) for p in (0.0002, 0.001, 0.25, None)] == ["< 0.001", "0.001", "0.250", "–"]
