"""Rows of pictures and captions: read, refused, and drawn."""

import json
import re

import pytest
from PIL import Image

from blipvqa import load_splits
from blipvqa.data.split_names import SourceError
from blipvqa.data.synthetic_captions import TERMS


@pytest.fixture
def folder(root):
    """Two pictures with three captions in train, one in validation."""
    rows = {"train": [("a", "dense tissue"), ("a", "many nuclei"), ("b", "fat")], "validation": [("c", "a gland")]}
    (root / "own").mkdir()
    for name, shade in (("a", 10), ("b", 120), ("c", 230)):
        image = Image.linear_gradient("L").resize((40, 40)).point(lambda value, shade=shade: (value + shade) // 2)
        image.save(root / "own" / f"{name}.png")
    for split, pairs in rows.items():
        lines = [json.dumps({"image": f"{image}.png", "caption": text, "organ": "skin"}) for image, text in pairs]
        (root / "own" / f"{split}.jsonl").write_text("\n".join(lines))
    return root / "own"


def test_several_captions_of_a_picture_are_rows_of_one_image(tiny, folder):
    data = load_splits(tiny(task="caption", data__source="own"))["train"]
    assert [row["caption"] for row in data.rows] == ["dense tissue", "many nuclei", "fat"]
    assert len({row["image_id"] for row in data.rows}) == 2
    assert data.columns == ["organ"] and data.texts == ["dense tissue", "many nuclei", "fat"]


def test_a_source_without_captions_and_an_empty_caption_are_named(tiny, folder):
    with pytest.raises(SourceError, match="no column question, answer; found image, caption"):
        load_splits(tiny(data__source="own"))
    (folder / "validation.jsonl").write_text(json.dumps({"image": "c.png", "caption": " "}))
    with pytest.raises(SourceError, match="column caption: the text is empty"):
        load_splits(tiny(task="caption", data__source="own"))


def test_drawn_pictures_have_two_captions_that_name_the_same_things(tiny):
    splits = load_splits(tiny(task="caption"))
    questions = load_splits(tiny())
    for split, data in splits.items():
        assert {row["image_id"] for row in data.rows} == {row["image_id"] for row in questions[split].rows}
        for one, other in zip(data.rows[::2], data.rows[1::2], strict=True):
            assert one["image_id"] == other["image_id"] and one["caption"] != other["caption"]
            named = [{term for term in TERMS if re.search(rf"\b{term}\b", row["caption"])} for row in (one, other)]
            assert named[0] == named[1] and len(named[0]) == 2 + int(one["things"])
