"""Gaps between subgroups: real where they are, rarely where they are not, and small levels are named."""

import json

import numpy as np
import pytest
from conftest import text_of

from blipvqa import load_splits
from blipvqa.numbers.bootstrap import Bootstrap
from blipvqa.numbers.gaps import adjusted_gaps, gaps
from blipvqa.numbers.grouping import levels
from blipvqa.tasks import CAPTION, PAIRS, RETRIEVAL, VQA
from blipvqa.vqa.sections import subgroups_section
from blipvqa.vqa.subgroups import score_subgroups

FEW = Bootstrap(resamples=100)


def rows_of(shares, images=40, questions=4, seed=0):
    """Pictures of scanners that differ in how often answers are right."""
    generator, rows = np.random.default_rng(seed), []
    for scanner, share in shares.items():
        for image in range(images if scanner != "rare" else 9):
            for _ in range(questions):
                right = generator.random() < share
                rows.append(
                    {
                        "id": f"test/{len(rows)}",
                        "image_id": f"{scanner}{image}",
                        "question": "what is it?",
                        "answer": "cyst",
                        "prediction": "cyst" if right else "lung",
                        "scanner": scanner,
                    }
                )
    return rows


def test_a_gap_is_found_and_levels_of_few_images_are_named():
    scores = score_subgroups(rows_of({"old": 0.5, "new": 0.9, "newer": 0.9, "rare": 0.1}), ["scanner"], FEW)
    first, second, last = scores["columns"]["scanner"]["gaps"]
    assert {*first["levels"], *second["levels"]} == {"old", "new", "newer"}
    assert first["real"] and second["real"] and not last["real"] and set(last["levels"]) == {"new", "newer"}
    for gap in (first, second):
        assert gap["difference"] == pytest.approx(gap["values"][0] - gap["values"][1])
        assert (gap["difference"] > 0.2) == (gap["levels"][1] == "old")  # the first minus the second
    assert first["low"] <= first["difference"] <= first["high"] and first["p_holm"] >= first["p"]
    assert (scores["fewest"], scores["tests"]) == (10, 3)
    assert scores["columns"]["scanner"]["too_few"] == [{"level": "rare", "n": 36, "groups": 9}]
    page = text_of(subgroups_section({"subgroups": scores}))
    assert "Too few, with less than 10 images: rare (36 on 9)." in page and "all 3 gaps" in page
    json.dumps(scores, allow_nan=False)


def test_rows_without_a_value_are_no_subgroup():
    rows = rows_of({"old": 0.5, "new": 0.9, "": 0.1})
    unknown = [row | {"scanner": row["scanner"] or None} for row in rows]
    scores = score_subgroups(unknown, ["scanner"], FEW)
    (gap,) = scores["columns"]["scanner"]["gaps"]
    assert set(gap["levels"]) == {"old", "new"} and scores["tests"] == 1  # p is adjusted for one look, not for three
    assert scores["columns"]["scanner"]["unknown"] == 160
    assert "No value, and so in no level: 160 questions." in text_of(subgroups_section({"subgroups": scores}))
    nothing = score_subgroups([row | {"scanner": None} for row in rows], ["scanner"], FEW)
    assert nothing["columns"]["scanner"] == {"gaps": [], "too_few": [], "unknown": 480}


def test_without_columns_or_levels_there_is_nothing_to_compare():
    assert score_subgroups(rows_of({"a": 1.0}), [], FEW)["columns"] == {}
    assert subgroups_section({"subgroups": score_subgroups([], [], FEW)}) is None
    alone = score_subgroups(rows_of({"a": 1.0}), ["scanner"], FEW)
    assert alone["columns"]["scanner"] == {"gaps": [], "too_few": [], "unknown": 0}
    assert "No two levels" in text_of(subgroups_section({"subgroups": alone}))
    without = score_subgroups(rows_of({"a": 0.7, "b": 0.5}), ["scanner"], Bootstrap(resamples=0))
    assert without["columns"]["scanner"]["gaps"][0]["p"] is None


def test_what_pictures_with_rows_in_both_levels_share_does_not_widen_the_gap():
    """Forty pictures, each asked once in both levels: what is hard about a picture is hard in both."""
    groups = np.tile(np.arange(40), 2)
    right = np.r_[np.arange(40) % 2, (np.arange(40) % 2) * (np.arange(40) > 5)].astype(float)
    both = {"a": np.arange(40), "b": np.arange(40, 80)}
    (paired,) = gaps(right, groups, both, FEW)
    (apart,) = gaps(right, np.arange(80), both, FEW)
    assert paired["difference"] == apart["difference"] == pytest.approx(3 / 40)
    assert paired["high"] - paired["low"] < 0.6 * (apart["high"] - apart["low"])


def test_levels_without_a_mistake_are_not_surely_equal():
    (gap,) = score_subgroups(rows_of({"a": 1.0, "b": 1.0}, images=12), ["scanner"], FEW)["columns"]["scanner"]["gaps"]
    assert gap["low"] < -0.02 and gap["high"] > 0.02 and not gap["real"]


@pytest.mark.parametrize("by_image", [True, False])
def test_equal_levels_are_rarely_called_different(by_image):
    """Five levels, of images or of questions, ten gaps each time: any of them is real in at most about 5 of 100 sets."""
    generator, wrong, covered = np.random.default_rng(1), 0, 0
    for seed in range(60):
        groups = np.repeat(np.arange(100), generator.integers(1, 8, size=100))
        right = (generator.random(len(groups)) < generator.beta(1.6, 0.7, size=100)[groups]).astype(float)
        level = generator.integers(5, size=100)[groups] if by_image else generator.integers(5, size=len(groups))
        rows = {str(name): np.flatnonzero(level == name) for name in range(5)}
        tests = gaps(right, groups, rows, Bootstrap(resamples=100, seed=seed))
        wrong += any(gap["real"] for gap in adjusted_gaps(tests))
        covered += sum(gap["low"] <= 0 <= gap["high"] for gap in tests)
    assert wrong <= 8 and covered / 600 > 0.93


def test_spellings_of_a_level_are_one_level_in_every_task():
    """Before, "M" and "m " were two sexes with a gap between them, and nothing said so."""
    values = ["M", "m ", "F", "f", "M", "  ", None, "", "None"]
    assert {level: list(rows) for level, rows in levels(values).items()} == {
        "(none)": [5, 6, 7],
        "M": [0, 1, 4],
        "F": [2, 3],
        "None": [8],
    }
    rows = [{"id": str(i), "image_id": str(i), "sex": value} for i, value in enumerate(values)]
    for task in (VQA, CAPTION, RETRIEVAL, PAIRS):
        rows = [row | {"question": "is it?"} for row in rows]
        assert list(task.comparing.levels(rows, ["sex"])["sex"]) == ["(none)", "M", "F", "None"]


def test_several_spellings_are_told(folder, tiny):
    for split in ("train", "test"):
        rows = [
            {"image": f"images/{i}.png", "question": "is it?", "answer": "yes", "sex": ("M", "m ", "F")[i % 3]}
            for i in range(9)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes = load_splits(tiny(data__source="mine")).notes
    said = "test: 1 value of column sex is written in several ways, and counted as one each, such as 'M' and 'm '"
    assert said in notes
