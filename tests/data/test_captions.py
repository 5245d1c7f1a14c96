"""Rows of pictures and captions: read, refused, and drawn."""

import json
import re

import pytest
import torch
from PIL import Image
from same_run import tensors_of

from blipvqa import collator_for, load_model, load_splits
from blipvqa.config.knobs import ConfigError
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


def test_a_description_is_a_question_which_either_caption_answers(tiny):
    described, captions = load_splits(tiny(data__synthetic__descriptions=True)), load_splits(tiny(task="caption"))
    for split, data in described.items():
        pairs = [row["caption"] for row in captions[split].rows]
        assert [row["answers"] for row in data.rows] == list(map(list, zip(pairs[::2], pairs[1::2], strict=True)))
        assert {row["question"] for row in data.rows} == {"what does the picture show?"}
        assert [row["image_id"] for row in data.rows] == [row["image_id"] for row in captions[split].rows[::2]]
    with pytest.raises(ConfigError, match="descriptions is of single pictures"):
        tiny(data__synthetic={"descriptions": True, "dialogues": True})


def terms_of(text):
    return {term for term in TERMS if re.search(rf"\b{term}\b", text)}


def noisy(tiny, share=0.4, task="caption"):
    images = {"train": 60, "validation": 6, "test": 6}
    return load_splits(tiny(task=task, data__synthetic={"images": images, "size": 48, "caption_noise": share}))


def test_wrong_captions_are_false_of_their_picture_and_the_truth_stands_beside_them(tiny):
    splits, clean = noisy(tiny), noisy(tiny, 0.0)
    rows = splits["train"].rows
    wrong = [row for row in rows if row["fault"] != "none"]
    assert len(wrong) == round(0.4 * len(rows))
    assert {row["fault"] for row in wrong} == {"other picture", "stain", "cells", "kind", "place"}
    assert sum(row["fault"] == "other picture" for row in wrong) == len(wrong) // 2
    for row in wrong:
        changed = terms_of(row["caption"]) ^ terms_of(row["truth"])
        assert changed and (len(changed) <= 4 if row["fault"] != "other picture" else True), row
        if row["fault"] in ("stain", "cells"):
            assert len(changed) == 2 and {"stain": " stain", "cells": " tissue"}[row["fault"]] in row["caption"]
    assert all(row["caption"] == row["truth"] for row in rows if row["fault"] == "none")
    # the pictures, and what is true of them, are as without noise
    assert [(row["image_id"], row["truth"]) for row in rows] == [
        (row["image_id"], row["caption"]) for row in clean["train"].rows
    ]
    assert {row["fault"] for split in ("validation", "test") for row in splits[split].rows} == {"none"}
    assert "fault" not in clean["train"].columns
    assert [row["caption"] for row in rows] == [row["caption"] for row in noisy(tiny)["train"].rows]


@pytest.mark.parametrize("task", ["caption", "retrieval", "pretrain"])
def test_no_model_is_given_what_was_spoiled(tiny, task):
    """Neither the vocabulary nor a batch knows `fault` and `truth`."""
    data = noisy(tiny, task=task)["train"]
    assert set(data.texts) == {row["caption"] for row in data.rows}
    config = tiny(task=task)
    _, processor = load_model("scratch", config, data.texts)
    collate = collator_for(processor, config)
    items = [data[i] for i in range(8)]
    bare = [{key: value for key, value in item.items() if key not in ("fault", "truth")} for item in items]
    pairs = list(zip(tensors_of(collate(items)), tensors_of(collate(bare)), strict=True))
    assert pairs and all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("share", [1.0, -0.1, "half"])
def test_an_impossible_share_of_wrong_captions_is_refused(tiny, share):
    with pytest.raises(ConfigError, match=r"data\.synthetic\.caption_noise"):
        tiny(task="caption", data__synthetic__caption_noise=share)


def test_columns_with_names_of_predictions_stay_beside_them(tiny, folder):
    """A captioned source may have a column `match`: predictions have one of their own."""
    line = {"image": "c.png", "caption": "a gland", "match": 0.5, "references": "a book", "likelihood": "low"}
    (folder / "validation.jsonl").write_text(json.dumps(line))
    for task in ("caption", "retrieval"):
        row = load_splits(tiny(task=task, data__source="own"))["validation"].rows[0]
        assert row["match (data)"] == 0.5 and row["references (data)"] == "a book" and "match" not in row
        assert row["likelihood (data)"] == "low" and "likelihood" not in row  # else it were a captioner's
