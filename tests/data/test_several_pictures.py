"""Rows that show several pictures: read, checked, stored and batched like rows of one."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from datasets import List as ListFeature
from film_files import dicom
from PIL import Image
from small_sources import jsonl, rows, splits_of

from blipvqa.data.batches import distinct_images
from blipvqa.data.fingerprint import fingerprint
from blipvqa.data.images import ImageError
from blipvqa.data.several_pictures import sheet
from blipvqa.data.split_names import SourceError


def several(count: int, start: int = 0) -> list[dict]:
    """Rows of one, two and three pictures in turn."""
    lists = [[f"images/{(start + i + k) % 20}.png" for k in range(1 + i % 3)] for i in range(count)]
    return [
        {**row, "image": of_row[0] if len(of_row) == 1 else of_row}
        for row, of_row in zip(rows(count, start), lists, strict=True)
    ]


def as_table(kind, folder, lines):
    if kind == "jsonl":
        jsonl(folder / "train.jsonl", lines)
        return
    cells = [line["image"] if isinstance(line["image"], list) else [line["image"]] for line in lines]
    texts = [{key: value for key, value in line.items() if key != "image"} for line in lines]
    if kind == "csv":
        head = "image,question,answer\n"
        quoted = ['"' + json.dumps(cell).replace('"', '""') + '"' for cell in cells]
        lines = [f"{cell},{text['question']},{text['answer']}\n" for cell, text in zip(quoted, texts, strict=True)]
        (folder / "train.csv").write_text(head + "".join(lines), encoding="utf-8")
        return
    files = [[{"bytes": (folder / name).read_bytes(), "path": None} for name in cell] for cell in cells]
    whole = [{**text, "image": of_row} for text, of_row in zip(texts, files, strict=True)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(whole), folder / "train.parquet")
        return
    features = Features({"image": ListFeature(ImageFeature())} | dict.fromkeys(texts[0], Value("string")))
    DatasetDict({"train": Dataset.from_list(whole, features=features)}).save_to_disk(str(folder))


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "save_to_disk"])
def test_a_row_has_its_pictures_in_their_order_whatever_the_table(folder, kind):
    lines = several(12)
    as_table(kind, folder, lines)
    splits = splits_of()
    data, other = splits["train"], splits["validation"]
    assert len(data) + len(other) == 12
    for i, row in enumerate(data.rows):
        names = lines[int(row["id"].split("/")[1])]["image"]
        names = names if isinstance(names, list) else [names]
        assert len(row.get("image_ids") or [0]) == len(names)
        pixels = data[i]["pixels"]
        for picture, image, name in zip(pixels if len(names) > 1 else [pixels], data.images(i), names, strict=True):
            original = Image.open(folder / name).convert("RGB")
            assert image.tobytes() == original.tobytes()
            np.testing.assert_array_equal(
                picture.numpy(), np.asarray(original.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
            )


def test_equal_lists_are_one_image_and_another_order_is_another(folder):
    lists = [["images/0.png", "images/1.png"]] * 2 + [
        ["images/1.png", "images/0.png"],
        "images/0.png",
        ["images/0.png"],
    ]
    lines = [{**row, "image": of_row} for row, of_row in zip(rows(5), lists, strict=True)]
    jsonl(folder / "train.jsonl", lines)
    jsonl(folder / "validation.jsonl", rows(2, 30))
    data = splits_of()["train"]
    ids = [row["image_id"] for row in data.rows]
    assert ids[0] == ids[1] != ids[2] and ids[3] == ids[4]
    assert data.rows[0]["image_ids"] == data.rows[2]["image_ids"][::-1]
    assert "image_ids" not in data.rows[3] and "image_ids" not in data.rows[4]  # a list of one is one picture
    digests = list(fingerprint({"train": data})["train"].values())
    assert len(set(digests)) == 5


BAD = {
    "a missing one": (["images/0.png", "images/none.png"], "none.png"),
    "one outside": (["images/0.png", "../secret.png"], "leads out"),
    "a number": (["images/0.png", 3], "found a number"),
    "none": ([], "there is no image"),
    "a list in a list": (["images/0.png", ["images/1.png"]], "found a list"),
    "too many": (["images/0.png"] * 65, "a list of 65 pictures, at most 64 are read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_of_a_list_is_named_or_its_row_skipped(folder, name):
    cell, message = BAD[name]
    lines = several(12)
    lines[5]["image"] = cell
    jsonl(folder / "train.jsonl", lines)
    with pytest.raises((SourceError, ImageError), match=rf"row train/5: line 6 of train\.jsonl: .*{message}"):
        splits_of()
    splits = splits_of(data__on_error="skip")
    assert sum(map(len, splits.values())) == 11
    assert any("1 of 12 rows left out" in note for note in splits.notes)


def test_captions_take_one_picture(folder):
    jsonl(folder / "train.jsonl", [{"image": ["images/0.png", "images/1.png"], "caption": "two"}])
    with pytest.raises(SourceError, match="a list of 2 pictures, only tasks vqa, retrieval and pairs take several"):
        splits_of(task="caption")


def test_a_batch_holds_each_picture_once_and_says_where_a_row_has_fewer(folder):
    jsonl(folder / "train.jsonl", several(12))
    jsonl(folder / "validation.jsonl", rows(2, 30))
    data = splits_of()["train"]
    items = data.__getitems__([0, 1, 2, 3])  # pictures 0; 1 2; 2 3 4; 3
    batch = distinct_images(items)
    assert batch["image_index"].tolist() == [[0, -1, -1], [1, 2, -1], [2, 3, 4], [3, -1, -1]]
    assert len(batch["pixel_values"]) == 5
    torch.testing.assert_close(batch["pixel_values"][4], data.pixels(2, 2))
    assert items[1]["pixels"][1] is items[2]["pixels"][0]
    assert distinct_images(items[::3])["image_index"].tolist() == [0, 1]  # rows of one: as ever


def test_rows_that_share_a_picture_stand_on_one_side_of_a_cut_and_are_said(folder):
    chain = [["images/0.png", "images/1.png"], ["images/1.png", "images/2.png"], "images/2.png", ["images/3.png"]]
    jsonl(folder / "train.jsonl", [{**row, "image": cell} for row, cell in zip(rows(4), chain, strict=True)])
    for seed in range(4):
        splits = splits_of(seed=seed)
        alone, together = sorted(splits.values(), key=len)[0:2] if "test" not in splits else ()
        assert (len(alone), len(together)) == (1, 3)
    assert any("share some of them: 4 lists of pictures are 2 groups" in note for note in splits.notes)
    jsonl(folder / "test.jsonl", [{**rows(1)[0], "image": ["images/3.png", "images/9.png"]}])
    notes = splits_of().notes
    assert any("1 of the 2 test images stand in" in note for note in notes)
    for path, lines in (("train", chain), ("test", ["images/8.png"])):
        table = [{**row, "image": cell, "patient": None} for row, cell in zip(rows(4), lines, strict=False)]
        jsonl(folder / f"{path}.jsonl", table)
    by_patient = splits_of(data__group_column="patient")
    assert len({row["group_id"] for split in by_patient.values() for row in split.rows}) == 3


def test_pictures_of_a_row_are_exchanged_and_shown_together(folder):
    jsonl(folder / "train.jsonl", several(12))
    jsonl(folder / "validation.jsonl", rows(2, 30))
    data = splits_of()["train"]
    others = data.with_pictures_of([2, 0, 1, *range(3, 12)])
    assert others.rows[0]["image_ids"] == data.rows[2]["image_ids"] and others.rows[1]["image_ids"] is None
    assert [len(item["pixels"]) for item in others.__getitems__([0, 2])] == [3, 2]
    assert others[1]["pixels"].shape == (3, 32, 32)
    assert data.image_path(1) == '["images/1.png", "images/2.png"]' and data.image_path(0) == "images/0.png"
    assert data.image(0).size == (20, 20) and data.image(1).width > 40  # side by side, with a number above each
    three = data.image(2)
    assert (
        three.height > 40
        and three.crop((0, three.height - 20, 20, three.height)).tobytes() == data.images(2)[2].tobytes()
    )
    assert sheet([Image.new("RGB", (30, 10))] * 7).width > 90


def test_the_frames_of_a_list_keep_a_name_of_the_source(folder):
    lines = [{**row, "image_ids": "mine"} for row in several(6)]
    jsonl(folder / "train.jsonl", lines)
    splits = splits_of()
    assert all(row["image_ids (data)"] == "mine" for data in splits.values() for row in data.rows)


def deep_dicom(path, values):
    """A DICOM file of one frame of 12 bits, without a window."""
    pydicom = pytest.importorskip("pydicom")
    dicom(path, [0])
    file = pydicom.dcmread(path)
    (file.Rows, file.Columns), file.BitsAllocated, file.BitsStored, file.HighBit = values.shape, 16, 12, 11
    file.PixelData, file["PixelData"].VR = values.tobytes(), "OW"
    file.save_as(path)


def test_deep_pictures_beside_others_are_noted_where_no_window_says_what_is_bright(folder):
    """Slices of 1,000, 2,000, … are the same picture, each stretched by its own values; of one film they are not."""
    ramp = np.linspace(0, 1000, 400, dtype=np.uint16).reshape(20, 20)
    for i in range(1, 5):
        Image.fromarray(ramp * i).save(folder / f"{i}.png")
        Image.fromarray((ramp * i // 16).astype(np.uint8)).save(folder / f"{i}-of-8-bits.png")
        deep_dicom(folder / f"{i}.dcm", ramp * i)
    said = "rows show several pictures deeper than 8 bits and without a window"

    def told(names, **settings) -> list[str]:
        cells = [names[:2], names[2:], names[::2]]
        lines = [{"image": cell, "question": "q?", "answer": "a"} for cell in cells]
        jsonl(folder / "train.jsonl", lines)
        jsonl(folder / "validation.jsonl", [{"image": "images/9.png", "question": "q?", "answer": "a"}])
        return [note for note in splits_of(**settings).notes if said in note]

    for ending in ("png", "dcm"):
        names = [f"{i}.{ending}" for i in range(1, 5)]
        assert len(told(names)) == len(told(names)) == 1, ending  # again, from the store
    assert not told([f"{i}.dcm" for i in range(1, 5)], data__window=[2000, 4000])
    assert not told([f"{i}-of-8-bits.png" for i in range(1, 5)])
