"""Every kind of source through one door: the same rows come out, columns are renamed, filtered and cut alike."""

import numpy as np
import pytest
from conftest import SHARED, TINY, needs_shared
from PIL import Image
from small_sources import jsonl, rows, splits_of, write

from blipvqa import load_config, load_splits
from blipvqa.data.split_names import SourceError


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "save_to_disk"])
def test_every_kind_of_source_gives_the_same_rows(folder, kind):
    write(kind, folder, {"train": rows(12), "dev": rows(4, 12), "test": rows(4, 16)})
    splits = splits_of()
    assert {name: len(data) for name, data in splits.items()} == {"train": 12, "validation": 4, "test": 4}
    row = splits["validation"].rows[1]
    assert (row["id"], row["question"], row["answer"], row["organ"]) == (
        "validation/1",
        "what is 13?",
        "it is 13",
        "liver",
    )
    assert splits["train"].breakdown == ["organ"]
    assert len({r["image_id"] for r in splits["train"].rows}) == 6
    np.testing.assert_array_equal(
        np.asarray(splits["train"].image(2)), np.asarray(Image.open(folder / "images" / "1.png"))
    )
    assert splits["train"][0]["pixels"].shape == (3, 32, 32)
    assert not splits.notes


def test_columns_are_renamed_filtered_and_limited(folder):
    lines = [
        {
            "img_name": r["image"],
            "q": r["question"],
            "answer": r["answer"],
            "organ": r["organ"],
            "image": "an older column",
        }
        for r in rows(12)
    ]
    write_lines = {"train": lines, "test": lines[:4]}
    for split, some in write_lines.items():
        jsonl(folder / f"{split}.jsonl", some)
    named = {"data__columns": {"img_name": "image", "q": "question"}}
    splits = splits_of(**named, data__where={"organ": ["liver"]}, data__limit={"train": 3})
    assert len(splits["train"]) == 3
    assert {row["organ"] for row in splits["train"].rows} == {"liver"}
    assert splits["train"].rows[0]["image (data)"] == "an older column"
    for wrong, message in (
        ({"data__where": {"organ": "brain"}}, "no row"),
        ({"data__where": {"organs": "x"}}, "organs"),
        ({"data__columns": {"nothing": "image"}}, "nothing"),
        ({"data__group_column": "patient"}, "patient"),
    ):
        with pytest.raises(SourceError, match=message):
            splits_of(**{**named, **wrong})


@pytest.mark.parametrize(
    "name", ["id", "image_id", "group_id", "split", "pixels", "prediction", "score", "yes_probability", "confidence"]
)
def test_a_column_with_a_name_of_ours_is_kept_beside_it(folder, name):
    jsonl(folder / "train.jsonl", [{**row, name: f"theirs {i % 2}"} for i, row in enumerate(rows(8))])
    splits = splits_of(data__where={name: "theirs 1"}, data__breakdown=[name])
    row = splits["train"].rows[0]
    assert row["id"].startswith("train/")
    assert row[f"{name} (data)"] == "theirs 1"
    assert splits["train"].breakdown == [f"{name} (data)"]
    assert any(f"{name} as '{name} (data)'" in note for note in splits.notes)


def test_a_column_called_as_ours_would_be_beside_is_kept_too(folder):
    jsonl(folder / "train.jsonl", [{**row, "id": "a", "id (data)": "b"} for row in rows(8)])
    row = splits_of()["train"].rows[0]
    assert (row["id (data) (data)"], row["id (data)"]) == ("a", "b")


def test_validation_is_cut_by_image_and_never_by_question(folder):
    jsonl(folder / "train.jsonl", rows(40))
    splits = splits_of(data__validation_share=0.2)
    images = [{row["image_id"] for row in splits[name].rows} for name in ("train", "validation")]
    assert not images[0] & images[1]
    assert len(images[1]) == 4
    assert len(splits["train"]) + len(splits["validation"]) == 40
    assert "test" not in splits
    assert any("no validation split" in note for note in splits.notes)
    assert any("no test split" in note for note in splits.notes)
    again = splits_of(data__validation_share=0.2)
    assert [r["id"] for r in again["validation"].rows] == [r["id"] for r in splits["validation"].rows]


def test_shared_images_are_counted_and_can_be_dropped(folder):
    (folder / "images" / "copy.png").write_bytes((folder / "images" / "0.png").read_bytes())
    jsonl(folder / "train.jsonl", rows(20))
    jsonl(folder / "validation.jsonl", rows(4, 20))
    jsonl(folder / "test.jsonl", [{**rows(1)[0], "image": "images/copy.png"}, *rows(2, 30)])
    assert any("1 of the 2 test images stand in train too" in note for note in splits_of().notes)
    splits = splits_of(data__split="regroup")
    assert len(splits["train"]) == 18
    assert not any("stand in" in note for note in splits.notes)


@needs_shared("data/vqa-rad")
def test_vqa_rad_as_published_shares_its_test_images(root):
    config = load_config(None, TINY | {"data.source": str(SHARED / "data" / "vqa-rad"), "model.image_size": 32})
    splits = load_splits(config)
    assert len(splits["test"]) == 451
    assert any("181 of the 203 test images stand in train too" in note for note in splits.notes)
    assert not {r["image_id"] for r in splits["train"].rows} & {r["image_id"] for r in splits["validation"].rows}


def test_a_missing_column_s_hint_can_be_set_as_it_stands(folder):
    lines = [{"img_name": r["image"], "img_id": 1, "question": r["question"], "ans": r["answer"]} for r in rows(8)]
    jsonl(folder / "train.jsonl", lines)
    with pytest.raises(SourceError, match=r"no column image, answer; found img_name, img_id, question, ans") as caught:
        splits_of()
    hints = "column `img_name` looks like `image`: set data.columns.img_name=image; column `ans` looks like `answer`"
    assert hints in str(caught.value)
    assert len(splits_of(data__columns__img_name="image", data__columns__ans="answer")["train"]) > 4


def test_a_filter_tells_true_from_one(folder):
    """Python's 1 equals True: before, `data.where: {n: 1}` kept the rows whose `n` is true."""
    jsonl(folder / "train.jsonl", [{**row, "n": i % 2 == 0} for i, row in enumerate(rows(8))])
    with pytest.raises(SourceError, match=r"column 'n' is none of \[1\]\. It holds true or false"):
        splits_of(data__where={"n": 1})
    assert sum(map(len, splits_of(data__where={"n": True}).values())) == 4
