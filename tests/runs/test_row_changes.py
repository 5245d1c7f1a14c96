"""What changed between two states of the data is counted and named."""

import pytest

from blipvqa.runs.identity import row_changes

BEFORE = {"train": {"train/0": "a", "train/1": "b", "train/2": "c"}, "validation": {"validation/0": "d"}}


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        (BEFORE, []),
        (
            {**BEFORE, "train": {"train/0": "a", "train/1": "x", "train/2": "c"}},
            ["1 row of train altered, e.g. train/1"],
        ),
        ({**BEFORE, "train": {"train/0": "a", "train/1": "b"}}, ["1 row removed from train"]),
        ({**BEFORE, "test": {"test/0": "e", "test/1": "f"}}, ["2 rows added to test"]),
        (
            {**BEFORE, "train": {"train/0": "b", "train/1": "a", "train/2": "c"}},
            ["the rows of train stand in another order"],
        ),
        (
            {"train": {"train/0": "a", "train/2": "d"}, "validation": {"train/1": "b", "train/3": "c"}},
            [
                "2 rows of train, which the model was trained on, now in validation",
                "1 row of validation, now in train",
            ],
        ),
        ({"train": BEFORE["train"]}, ["1 row removed from validation"]),
        # a row that stands twice is not the row that stands once
        ({**BEFORE, "train": {**BEFORE["train"], "train/3": "a"}}, ["1 row added to train"]),
    ],
)
def test_every_kind_of_change_is_counted(after, lines):
    assert row_changes(BEFORE, after) == lines
