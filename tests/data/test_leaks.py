"""Pictures in two splits are counted in the splits as they are used, and the note says what it costs."""

import json

import pytest
from PIL import Image

from blipvqa import load_config, load_splits


@pytest.fixture
def source(root):
    """A folder of twelve pictures, and a function that writes which of them stand in a split."""
    folder = root / "source"
    folder.mkdir()
    for i in range(12):
        Image.new("RGB", (32, 32), (20 * i, 255 - 20 * i, 90)).save(folder / f"{i}.png")

    def write(split, pictures):
        rows = [{"image": f"{i}.png", "question": f"what is in {split} {i}?", "answer": f"it is {i}"} for i in pictures]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return write


def notes_of(**data):
    settings = {"data.source": "source", "model.name": "scratch", "model.image_size": 32}
    splits = load_splits(load_config(None, settings | {f"data.{key}": value for key, value in data.items()}, "leaks"))
    return splits, [note for note in splits.notes if "stand in" in note]


def test_each_pair_of_splits_is_counted_with_what_it_costs(source):
    source("train", range(6))
    source("validation", [5, 6, 7])
    source("test", [0, 1, 7, 8])
    assert notes_of()[1] == [
        "1 of the 3 validation images stand in train too: validation scores are flattered by what was memorized, and "
        "choose the epoch by it",
        "2 of the 4 test images stand in train too: test scores are flattered by what was memorized",
        "1 of the 4 test images stand in validation too, which chooses the epoch and the temperature: test scores are a "
        "little flattered",
    ]


def test_what_is_cut_from_train_is_not_counted_as_trained_on(source):
    """Counted before the cut, all ten test pictures stood in train; two of them only chose the epoch."""
    source("train", range(10))
    source("test", range(10))
    splits, notes = notes_of(validation_share=0.2)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [8, 2, 10]
    assert [note.split(" images")[0] for note in notes] == ["8 of the 10 test", "2 of the 10 test"]
    assert "stand in train" in notes[0] and "stand in validation" in notes[1]


def test_what_a_limit_leaves_out_flatters_nothing(source):
    source("train", range(6))
    source("validation", [10])
    source("test", [5, 4, 11])
    assert len(notes_of()[1]) == 1
    assert notes_of(limit={"train": 4})[1] == []
    assert notes_of(limit={"test": 1})[1][0].startswith("1 of the 1 test images stand in train too")
