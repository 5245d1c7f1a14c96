"""Which file is which split: exact names and synonyms, and a word on everything that is left aside."""

import pytest
from small_sources import jsonl, rows, splits_of, write

from blipvqa.data.split_names import SYNONYMS, SourceError, split_of

NAMES = [(name, split) for split, names in SYNONYMS.items() for name in names]


@pytest.mark.parametrize(("name", "split"), NAMES)
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_common_names_of_splits_are_read(folder, name, split, ending):
    write(ending, folder, {name: rows(4), **({} if split == "train" else {"train": rows(12, 10)})})
    splits = splits_of()
    assert len(splits[split]) + (len(splits["validation"]) if split == "train" else 0) == 4
    assert not any("not read" in note for note in splits.notes)


@pytest.mark.parametrize(
    "name",
    ["train-old.jsonl", "train.bak.csv", "test-before-review.jsonl", "my train.csv", "training-set.json", "x.xlsx"],
)
def test_a_table_that_is_no_split_is_not_added_and_said(folder, name):
    jsonl(folder / "train.jsonl", rows(12))
    jsonl(folder / "test.jsonl", rows(4, 16))
    jsonl(folder / name, rows(8))
    splits = splits_of()
    assert sum(map(len, splits.values())) == 16
    assert [note for note in splits.notes if note.startswith("not read") and note.endswith(f": {name}")]


def test_other_layouts_and_folders_of_parts_are_said(folder):
    jsonl(folder / "train.jsonl", rows(12))
    (folder / "validation").mkdir()
    jsonl(folder / "validation" / "part-0.jsonl", rows(4))
    (folder / "old").mkdir()
    jsonl(folder / "old" / "train.jsonl", rows(4))
    (folder / "test.parquet").mkdir()  # as Spark writes it
    notes = [note for note in splits_of().notes if note.startswith("not read")]
    assert len(notes) == 1 and notes[0].endswith(": old/train.jsonl, validation/part-0.jsonl, test.parquet")


def test_a_file_in_a_folder_s_place_is_said(folder):
    jsonl(folder / "train.jsonl", rows(12))
    with pytest.raises(SourceError, match=r"'mine/train\.jsonl' is a file, expected the folder"):
        splits_of(data__source="mine/train.jsonl")


def test_formats_may_differ_between_splits(folder):
    jsonl(folder / "train.jsonl", rows(8))
    write("csv", folder, {"test": rows(4, 16)})
    write("json", folder, {"validate": rows(4, 10)})
    splits = splits_of()
    assert {name: len(data) for name, data in splits.items()} == {"train": 8, "validation": 4, "test": 4}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("val.jsonl", "validation.jsonl"),
        ("test.jsonl", "test.json"),
        ("test.jsonl", "eval.jsonl"),
        ("train.jsonl", "data/train.jsonl"),
        ("train.jsonl", "train-00000-of-00001.jsonl"),
        ("train-00000-of-00002.jsonl", "train-00000-of-00001.jsonl"),
    ],
)
def test_two_files_for_one_split_are_refused_by_name(folder, one, other):
    (folder / "data").mkdir()
    for name in {one, other, "train.jsonl"} if "train" not in one else (one, other):
        jsonl(folder / name, rows(8))
    with pytest.raises(SourceError, match="is in several files: ") as error:
        splits_of()
    assert one in str(error.value) and other in str(error.value)


def test_shards_are_read_in_order_and_a_missing_one_is_named(folder):
    for i in (1, 0, 2):
        jsonl(folder / f"train-0000{i}-of-00003.jsonl", rows(4, 4 * i))
    jsonl(folder / "test.jsonl", rows(2, 20))
    jsonl(folder / "dev.jsonl", rows(2, 22))
    assert [row["question"] for row in splits_of()["train"].rows] == [f"what is {i}?" for i in range(12)]
    (folder / "train-00001-of-00003.jsonl").unlink()
    with pytest.raises(SourceError, match="split train is in 3 files by their names, number 00001 is missing"):
        splits_of()


def test_names_are_taken_exactly():
    assert [split_of(name) for name in ("TRAIN", "Val", "train2", "tests", "")] == [
        "train",
        "validation",
        None,
        None,
        None,
    ]
