"""Numbers, intervals and paths as text: written once, the same in tables, figures and cards."""

import pytest

from blipvqa.pages.wording import count, interval, last_part, number, p_value, said, share


def test_numbers_and_intervals():
    entry = {"value": 0.25, "n": 1234, "low": 0.0, "high": 0.5}
    assert (number(entry), interval(entry), count(entry)) == ("0.250", "0.000 to 0.500", "1,234")
    assert number({"difference": 0.1}, "difference", sign=True) == "+0.100"
    assert interval({"low": -0.1, "high": 0.2}, sign=True) == "-0.100 to +0.200"
    assert (share(0.256), share(None)) == ("26%", "–")


def test_what_a_model_said_is_marked_where_it_is_cut_or_nothing():
    assert [said({"prediction": text, "unfinished": cut}) for text, cut in (("a", True), ("a", False), ("", True))] == [
        "a …",
        "a",
        "(empty)",
    ]
    assert said({"caption": "dense", "unfinished": True}, "caption") == "dense …" and said({"prediction": "a"}) == "a"


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


def test_what_is_nearly_all_or_nearly_nothing_is_not_shown_as_all_or_nothing():
    """One wrong answer of 3,000 is no accuracy of 1.000, and a model that is 99.7 % sure not 100 % sure."""
    shown = [number({"value": value}) for value in (2999 / 3000, 1 / 3000, 1.0, 0.0, 1 - 1e-16, 0.9994, 1.0002)]
    assert shown == ["0.9997", "0.0003", "1.000", "0.000", "1.000", "0.999", "1.0002"]
    assert interval({"low": 0.998, "high": 0.99999}) == "0.998 to 0.99999"
    signed = [number({"value": value}, sign=True) for value in (-0.0002, -1e-12, -0.0, 0.0, -0.25)]
    assert signed == ["-0.0002", "+0.000", "+0.000", "+0.000", "-0.250"]
    assert [share(value) for value in (0.997, 0.003, 1.0, 0.0, 0.99)] == ["> 99%", "< 1%", "100%", "0%", "99%"]
    assert [share(value, 1) for value in (2999 / 3000, 1 / 3000, 1.0, 0.9994)] == [
        "> 99.9%",
        "< 0.1%",
        "100.0%",
        "99.9%",
    ]


def test_no_p_value_is_shown_as_0():
    assert [p_value({"p": p}) for p in (0.0002, 0.001, 0.25, None)] == ["< 0.001", "0.001", "0.250", "–"]
